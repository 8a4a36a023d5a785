//! Commands that read what they work on from their standard input.
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::thread;

/// Runs a command on an input to its end. It may say more than a pipe holds before it has read all.
pub fn fed(command: &mut Command, input: impl Into<String>) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.into();
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("joined").expect("all is read");
    output
}
