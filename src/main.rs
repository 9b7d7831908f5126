//! The executable: a Lambda function where AWS says so, else the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    if etcd_monitor::run::lambda::is_lambda() {
        etcd_monitor::cli::main_lambda()
    } else {
        etcd_monitor::cli::main()
    }
}
