"""The application's Sample Data module as far as others register with it: exact parameters, no downloads."""

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleLogic


class SampleData(ScriptedLoadableModule):
    """The module; it has no panel here."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "Sample Data"
        parent.categories = ["Informatics"]
        slicer.modules.sampleDataSources = {}


class SampleDataSource:
    """One button of the panel. `uris` is a text, or a list as long as every other list."""

    def __init__(
        self,
        sampleName=None,
        sampleDescription=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        checksums=None,
        loadFiles=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileTypes=None,
        loadFileProperties=None,
        loadFileType=None,
    ):
        if loadFileType is not None and loadFileTypes is not None:
            raise ValueError("loadFileType and loadFileTypes cannot be specified at the same time")
        self.sampleName, self.customDownloader = sampleName, customDownloader
        self.sampleDescription = sampleName if sampleDescription is None else sampleDescription
        self.thumbnailFileName, self.loadFileProperties = thumbnailFileName, loadFileProperties or {}
        given = {"nodeNames": nodeNames, "loadFiles": loadFiles, "checksums": checksums}
        given["loadFileTypes"] = loadFileType if loadFileTypes is None else loadFileTypes
        if isinstance(uris, str):
            uris, fileNames = [uris], [fileNames]
            given = {name: [value] for name, value in given.items()}
        else:  # without any uris the application raises here as well
            given = {name: [None] * len(uris) if value is None else value for name, value in given.items()}
        self.uris, self.fileNames = uris, fileNames
        self.__dict__.update(given)
        if {len(uris), len(fileNames)} != {len(value) for value in given.values()}:
            raise ValueError("All fields of sample data source must have the same length")


class SampleDataLogic(ScriptedLoadableModuleLogic):
    """Where modules register."""

    @staticmethod
    def registerCustomSampleDataSource(
        category="Custom",
        sampleName=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileTypes=None,
        loadFiles=None,
        loadFileProperties={},  # noqa: B006
        checksums=None,
        loadFileType=None,
    ):
        """Add a button to a category of the panel; `sampleName` is what it shows."""
        source = SampleDataSource(
            sampleName=sampleName,
            uris=uris,
            fileNames=fileNames,
            nodeNames=nodeNames,
            customDownloader=customDownloader,
            thumbnailFileName=thumbnailFileName,
            loadFileTypes=loadFileTypes,
            loadFiles=loadFiles,
            loadFileProperties=loadFileProperties,
            checksums=checksums,
            loadFileType=loadFileType,
        )
        slicer.modules.sampleDataSources.setdefault(category, []).append(source)

    @staticmethod
    def sampleDataSourcesByCategory(category=None):
        """The sources of a category, or the dictionary of all."""
        sources = slicer.modules.sampleDataSources
        return sources if category is None else sources.get(category, [])
