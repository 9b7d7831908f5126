//! Integration tests: real servers, real tools, one binary.

mod s3;
mod store;
