//! Ends what a test started even when the test itself is killed.
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// A small shell process that waits on a pipe from the test process. When the pipe closes without a word, the test
/// process is gone (killed, or ended with the server in a static): the guard kills the server and removes its folder.
pub struct Guard {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Watches over process `pid`, to be ended by `signal` (a name as `kill -s` takes it), and its folder.
    pub fn watch(pid: u32, signal: &str, folder: &Path) -> Guard {
        let mut shell = Command::new("sh")
            .args(["-c", r#"read -r word; test "$word" = done || { kill -s "$2" "$1"; sleep 0.2; rm -rf "$3"; }"#, "guard"])
            .arg(pid.to_string())
            .arg(signal)
            .arg(folder)
            // A signal to the test's process group must not take the guard along.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("cannot start sh");
        let pipe = shell.stdin.take();
        Guard { shell, pipe }
    }
}

impl Drop for Guard {
    /// The owner has ended the process itself.
    fn drop(&mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            let _ = pipe.write_all(b"done\n");
        }
        let _ = self.shell.wait();
    }
}

/// Sends a signal by name to one process.
pub fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .stderr(Stdio::null())
        .status();
}
