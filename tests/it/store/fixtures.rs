//! Files of every format version stay readable.
