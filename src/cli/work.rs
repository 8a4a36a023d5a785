//! Progress of long work, on standard error where that is a terminal.
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// A line that says how far a command is.
pub struct Work {
    bar: ProgressBar,
    what: &'static str,
    /// Whether it is known how much there is to do.
    bounded: bool,
}

impl Work {
    /// `what` is counted: `records checked`.
    pub fn new(what: &'static str) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed}, {per_sec})") {
            bar.set_style(style);
        }
        let bounded = false;
        Work { bar, what, bounded }
    }

    /// The same as a bar, where it is known how many there are: `relations looked at`.
    pub fn of(total: u64, what: &'static str) -> Self {
        let bar = ProgressBar::new(total);
        if let Ok(style) = ProgressStyle::with_template("[{bar:30}] {pos}/{len} {msg} ({elapsed})")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        let bounded = true;
        Work { bar, what, bounded }
    }

    /// `count` are done; `place` says where.
    pub fn at(&self, count: u64, place: String) {
        let what = self.what;
        self.bar.set_message(match self.bounded {
            true => format!("{what}, {place}"),
            false => format!("{} {what}, {place}", HumanCount(count)),
        });
        self.bar.set_position(count);
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
