//! The command `podlab`.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
