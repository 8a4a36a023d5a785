//! What differs between two policies, as `diff -u` writes it.
use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::kept::Kept;

/// Lines around a change.
const CONTEXT: usize = 3;
/// Steps of the comparison; beyond, what differs is told as one change.
const MAX_STEPS: usize = 25_000_000;

/// Nothing where they are equal.
pub fn of(before: &Kept, after: &Kept) -> String {
    let names: BTreeSet<&str> = [before, after]
        .iter()
        .flat_map(|kept| kept.files.iter().map(|file| file.name.as_str()))
        .collect();
    let mut out = String::new();
    for name in names {
        let text = |kept: &Kept| {
            let found = kept.files.iter().find(|file| file.name == name);
            found.map(|file| file.text.clone())
        };
        let (old, new) = (text(before), text(after));
        if old == new {
            continue;
        }
        let label = |kept: &Kept, text: &Option<String>| match text {
            Some(_) => format!("{}/{name}", kept.version),
            None => "/dev/null".to_owned(),
        };
        let _ = writeln!(
            out,
            "--- {}\n+++ {}",
            label(before, &old),
            label(after, &new)
        );
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
        hunks(&mut out, &compared(&old, &new));
    }
    out
}

/// A line of both, of the old or of the new text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit<'a> {
    Same(&'a str),
    Gone(&'a str),
    Added(&'a str),
}

/// Edits that make one of the other, by the longest common subsequence of what their ends do not share.
fn compared<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Edit<'a>> {
    let pairs = old.iter().zip(new);
    let first = pairs.take_while(|(one, other)| one == other).count();
    let (_, old_rest) = old.split_at(first);
    let (_, new_rest) = new.split_at(first);
    let pairs = old_rest.iter().rev().zip(new_rest.iter().rev());
    let last = pairs.take_while(|(one, other)| one == other).count();
    let (old_middle, end) = old_rest.split_at(old_rest.len() - last);
    let (new_middle, _) = new_rest.split_at(new_rest.len() - last);
    let mut edits: Vec<Edit<'a>> = old.iter().take(first).copied().map(Edit::Same).collect();
    edits.extend(middle(old_middle, new_middle));
    edits.extend(end.iter().copied().map(Edit::Same));
    edits
}

fn middle<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Edit<'a>> {
    let width = new.len() + 1;
    if (old.len() + 1).saturating_mul(width) > MAX_STEPS {
        let gone = old.iter().copied().map(Edit::Gone);
        return gone.chain(new.iter().copied().map(Edit::Added)).collect();
    }
    // The length of the longest common subsequence of what begins at each pair of lines.
    let mut lengths = vec![0u32; (old.len() + 1) * width];
    let at = |i: usize, j: usize| i * width + j;
    let length = |lengths: &[u32], i, j| lengths.get(at(i, j)).copied().unwrap_or(0);
    for (i, one) in old.iter().enumerate().rev() {
        for (j, other) in new.iter().enumerate().rev() {
            let longest = match one == other {
                true => length(&lengths, i + 1, j + 1) + 1,
                false => length(&lengths, i + 1, j).max(length(&lengths, i, j + 1)),
            };
            if let Some(slot) = lengths.get_mut(at(i, j)) {
                *slot = longest;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut edits = Vec::new();
    loop {
        match (old.get(i), new.get(j)) {
            (Some(one), Some(other)) if one == other => {
                edits.push(Edit::Same(one));
                (i, j) = (i + 1, j + 1);
            }
            (Some(one), other) => {
                let gone =
                    other.is_none() || length(&lengths, i + 1, j) >= length(&lengths, i, j + 1);
                match (gone, other) {
                    (false, Some(other)) => {
                        edits.push(Edit::Added(other));
                        j += 1;
                    }
                    _ => {
                        edits.push(Edit::Gone(one));
                        i += 1;
                    }
                }
            }
            (None, Some(other)) => {
                edits.push(Edit::Added(other));
                j += 1;
            }
            (None, None) => return edits,
        }
    }
}

fn hunks(out: &mut String, edits: &[Edit<'_>]) {
    let changed: Vec<usize> = edits
        .iter()
        .enumerate()
        .filter(|(_, edit)| !matches!(edit, Edit::Same(_)))
        .map(|(index, _)| index)
        .collect();
    let mut rest = changed.as_slice();
    while let Some((first, after)) = rest.split_first() {
        let mut last = *first;
        let joined = after.iter().take_while(|next| {
            let near = **next <= last + 2 * CONTEXT + 1;
            if near {
                last = **next;
            }
            near
        });
        rest = after.get(joined.count()..).unwrap_or_default();
        let from = first.saturating_sub(CONTEXT);
        let to = (last + CONTEXT + 1).min(edits.len());
        hunk(out, edits, from, to);
    }
}

fn hunk(out: &mut String, edits: &[Edit<'_>], from: usize, to: usize) {
    let own = edits.get(from..to).unwrap_or_default();
    let before = edits.get(..from).unwrap_or_default();
    let old = |edits: &[Edit<'_>]| {
        edits
            .iter()
            .filter(|edit| !matches!(edit, Edit::Added(_)))
            .count()
    };
    let new = |edits: &[Edit<'_>]| {
        edits
            .iter()
            .filter(|edit| !matches!(edit, Edit::Gone(_)))
            .count()
    };
    // A side without lines is named by the line before it.
    let range = |start: usize, count: usize| match count {
        0 => format!("{start},0"),
        count => format!("{},{count}", start + 1),
    };
    let _ = writeln!(
        out,
        "@@ -{} +{} @@",
        range(old(before), old(own)),
        range(new(before), new(own))
    );
    for edit in own {
        let _ = match edit {
            Edit::Same(line) => writeln!(out, " {line}"),
            Edit::Gone(line) => writeln!(out, "-{line}"),
            Edit::Added(line) => writeln!(out, "+{line}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::kept::KeptFile;
    use super::*;

    fn kept(version: &str, files: &[(&str, &str)]) -> Kept {
        Kept {
            version: version.to_owned(),
            digest: String::new(),
            files: files
                .iter()
                .map(|(name, text)| KeptFile {
                    name: (*name).to_owned(),
                    text: (*text).to_owned(),
                })
                .collect(),
        }
    }

    #[test]
    fn changes_stand_among_lines_around_them() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n";
        let new = "1\n2\n3\n4\n5x\n6\n7\n8\n9\n10\n11\n12\n13\n15\n16\n17\n";
        let text = of(
            &kept("a", &[("p.yaml", old)]),
            &kept("b", &[("p.yaml", new)]),
        );
        assert_eq!(
            text,
            "--- a/p.yaml\n+++ b/p.yaml\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+5x\n 6\n 7\n 8\n\
             @@ -11,6 +11,6 @@\n 11\n 12\n 13\n-14\n 15\n 16\n+17\n"
        );
    }

    #[test]
    fn a_file_that_comes_or_goes_is_told_whole() {
        let text = of(
            &kept("a", &[("one.yaml", "x\n")]),
            &kept("b", &[("two.yaml", "x\n")]),
        );
        assert_eq!(
            text,
            "--- a/one.yaml\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-x\n--- /dev/null\n+++ b/two.yaml\n@@ -0,0 +1,1 @@\n+x\n"
        );
        let same = kept("a", &[("one.yaml", "x\n")]);
        assert_eq!(of(&same, &same), "");
    }
}
