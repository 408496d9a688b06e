"""The application around the scene: slicer.app, main window, modules, file input and output."""
