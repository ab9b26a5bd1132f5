//! Reports: a [`Format`] turns a run record into bytes. One file a format.
