"""The models at home in other libraries, each in a module of that library's name."""
