//! Commands in the documents are commands of the program.
use clap::Parser;
use clap::error::ErrorKind;
use pgveil::cli::Cli;

use crate::text::{Document, all, root};

/// The simple commands of a line, as a shell would take it apart: pipes, redirections and comments are left out.
fn simple_commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    // The word behind `>` or `<` is a file.
    let mut skip = false;
    let end = |word: &mut Option<String>, skip: &mut bool, commands: &mut Vec<Vec<String>>| {
        if let Some(word) = word.take()
            && !std::mem::take(skip)
            && let Some(command) = commands.last_mut()
        {
            command.push(word);
        }
    };
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | ';' | '&') => {
                end(&mut word, &mut skip, &mut commands);
                commands.push(Vec::new());
            }
            (None, '>' | '<') => {
                end(&mut word, &mut skip, &mut commands);
                skip = true;
            }
            (None, c) if c.is_whitespace() => end(&mut word, &mut skip, &mut commands),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    end(&mut word, &mut skip, &mut commands);
    // `NAME=value command`
    for command in &mut commands {
        let is_setting = |word: &String| {
            word.split_once('=').is_some_and(|(name, _)| {
                !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
            })
        };
        let settings = command.iter().take_while(|word| is_setting(word)).count();
        command.drain(..settings);
    }
    commands
}

/// Lines of code that are typed, a prompt taken off.
pub fn typed(document: &Document) -> Vec<String> {
    let lines = document.lines();
    let code = lines.iter().filter(|line| line.code);
    code.map(|line| line.text.trim())
        .map(|line| line.strip_prefix("$ ").unwrap_or(line).to_owned())
        .collect()
}

#[test]
fn a_line_is_taken_apart_as_a_shell_does() {
    let line = "A=b pgveil x 'y z' --c=\"d e\" > f | pgveil g    # and so on";
    assert_eq!(
        simple_commands(line),
        [vec!["pgveil", "x", "y z", "--c=d e"], vec!["pgveil", "g"]]
    );
}

#[test]
fn every_command_of_the_program_is_understood() {
    let mut understood = 0;
    for document in all() {
        for line in typed(&document) {
            for command in simple_commands(&line) {
                if command.first().is_some_and(|word| word == "pgveil") {
                    if let Err(error) = Cli::try_parse_from(&command) {
                        panic!("{}: {line}\n{error}", document.path);
                    }
                    understood += 1;
                }
            }
        }
    }
    assert!(understood > 60, "{understood} commands");
}

/// Begins with the program's name and is none of its commands: the first line of what applications sign.
const NO_COMMAND: &str = "pgveil app_user 1";

/// In prose a command may stand without what it needs.
#[test]
fn commands_named_in_prose_exist() {
    let mut named = 0;
    for document in all() {
        for span in document.inline() {
            if span == NO_COMMAND {
                continue;
            }
            let Some(command) = simple_commands(span).into_iter().next() else {
                continue;
            };
            // A word alone is the name of the program.
            if command.len() < 2 || command[0] != "pgveil" {
                continue;
            }
            named += 1;
            if let Err(error) = Cli::try_parse_from(&command) {
                let unfinished = match error.kind() {
                    ErrorKind::MissingRequiredArgument
                    | ErrorKind::MissingSubcommand
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => true,
                    // An option without its value.
                    ErrorKind::InvalidValue => command.last().is_some_and(|w| w.starts_with("--")),
                    _ => false,
                };
                assert!(unfinished, "{}: `{span}`\n{error}", document.path);
            }
        }
    }
    assert!(named > 20, "{named} commands");
}

/// Tests and suites that a document tells to run.
#[test]
fn tests_that_are_named_exist() {
    let script = std::fs::read_to_string(root().join("tests/run.sh")).expect("tests/run.sh");
    let suites = script
        .lines()
        .find_map(|line| line.trim().strip_suffix(") suites+=(\"$argument\") ;;"))
        .expect("the line of suites in tests/run.sh");
    let suites: Vec<&str> = suites.split(" | ").collect();
    let mut named = 0;
    for document in all() {
        for line in typed(&document) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["tests/run.sh", given @ ..] = words.as_slice() {
                for suite in given.iter().take_while(|word| **word != "#") {
                    assert!(
                        suites.contains(suite),
                        "{}: no suite {suite}",
                        document.path
                    );
                    named += 1;
                }
            }
            let mut rest = words.iter().skip_while(|word| **word != "--test").skip(1);
            if let (Some(test), Some(&"cargo")) = (rest.next(), words.first()) {
                let tests = root().join("tests");
                let there = tests.join(format!("{test}.rs")).exists()
                    || tests.join(test).join("main.rs").exists();
                assert!(there, "{}: no test {test}", document.path);
                if let Some(part) = rest.next() {
                    let module = tests.join(test).join(format!("{part}.rs"));
                    assert!(module.exists(), "{}: {test} has no {part}", document.path);
                }
                named += 1;
            }
        }
    }
    assert!(named >= 8, "{named} tests and suites");
}
