//! Progress of long work, on standard error where that is a terminal.
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// A line that says how far a command is.
pub struct Work {
    bar: ProgressBar,
    what: &'static str,
}

impl Work {
    /// `what` is counted: `records checked`.
    pub fn new(what: &'static str) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed}, {per_sec})") {
            bar.set_style(style);
        }
        Work { bar, what }
    }

    /// `count` are done; `place` says where.
    pub fn at(&self, count: u64, place: String) {
        self.bar.set_position(count);
        self.bar
            .set_message(format!("{} {}, {place}", HumanCount(count), self.what));
    }

    /// Does something that may write to the terminal, with the line out of the way.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    /// Takes the line away.
    pub fn done(&self) {
        self.bar.finish_and_clear();
    }
}
