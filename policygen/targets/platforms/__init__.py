"""One file for each platform; the file name is the name users give it, with _ for -."""
