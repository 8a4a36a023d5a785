//! What the demo prints: numbered steps, the commands it runs, their output.
use std::io::{IsTerminal, Write};

use super::DemoError;

/// An audit record is the longest output there should be.
const OUTPUT_LINES: usize = 60;

/// Standard output; bold and dim only on a terminal.
pub struct Screen {
    colour: bool,
    steps: usize,
}

impl Screen {
    pub fn new() -> Self {
        Self {
            colour: std::io::stdout().is_terminal(),
            steps: 0,
        }
    }

    /// Begins the next step.
    pub fn step(&mut self, title: &str) -> Result<(), DemoError> {
        self.steps += 1;
        let heading = format!("{}. {title}", self.steps);
        self.line("")?;
        self.line(&self.styled("1", &heading))
    }

    /// A command as the reader could type it.
    pub fn command(&mut self, command: &str) -> Result<(), DemoError> {
        self.line(&self.styled("36", &format!("$ {command}")))
    }

    /// What a command printed, without blank lines at its end, and not more than fits on a screen.
    pub fn output(&mut self, text: &str) -> Result<(), DemoError> {
        let lines: Vec<&str> = text.trim_end().lines().collect();
        for line in lines.iter().take(OUTPUT_LINES) {
            self.line(line)?;
        }
        match lines.len().checked_sub(OUTPUT_LINES) {
            None | Some(0) => Ok(()),
            Some(more) => self.line(&format!("... and {more} lines more")),
        }
    }

    pub fn line(&mut self, text: &str) -> Result<(), DemoError> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}")
            .and_then(|()| out.flush())
            .map_err(DemoError::Screen)
    }

    fn styled(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
