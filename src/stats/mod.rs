//! Statistics: pure functions over the run record. No file is read here and nothing is printed.
