//! The Chinese guides have the headings and the code of the English ones.
use crate::text::{Block, Document, GUIDES};

/// The pairs: English and Chinese.
fn pairs() -> Vec<(Document, Document)> {
    let pairs: Vec<_> = GUIDES
        .iter()
        .filter(|path| !path.contains("/zh/"))
        .map(|path| {
            let chinese = path.replacen("docs/", "docs/zh/", 1);
            (Document::read(path), Document::read(&chinese))
        })
        .collect();
    assert_eq!(pairs.len(), 3);
    pairs
}

#[test]
fn both_languages_have_the_same_headings() {
    for (english, chinese) in pairs() {
        let level = |(level, _): &(usize, &str)| *level;
        let (of_english, of_chinese) = (english.headings(), chinese.headings());
        let levels: Vec<_> = of_english.iter().map(level).collect();
        let others: Vec<_> = of_chinese.iter().map(level).collect();
        assert_eq!(
            levels, others,
            "{} and {}: {of_english:?} {of_chinese:?}",
            english.path, chinese.path
        );
        for (_, heading) in of_chinese {
            assert!(!heading.is_ascii(), "{}: {heading}", chinese.path);
        }
    }
}

#[test]
fn both_languages_have_the_same_code() {
    for (english, chinese) in pairs() {
        let (ours, theirs): (Vec<Block>, Vec<Block>) = (english.blocks(), chinese.blocks());
        for (one, other) in ours.iter().zip(&theirs) {
            assert_eq!(one, other, "{}", chinese.path);
        }
        assert_eq!(ours.len(), theirs.len(), "{}", chinese.path);
        let code = |document: &Document| -> Vec<String> {
            let lines = document.lines();
            let code = lines.iter().filter(|line| line.code);
            code.map(|line| line.text.trim().to_owned()).collect()
        };
        assert_eq!(code(&english), code(&chinese), "{}", chinese.path);
    }
}

/// Tables have the same number of rows, so that none is left out.
#[test]
fn both_languages_have_tables_of_the_same_length() {
    for (english, chinese) in pairs() {
        let rows = |document: &Document| -> Vec<usize> {
            let mut lengths = vec![0];
            for line in document.lines() {
                match line.text.trim_start().starts_with('|') && !line.code {
                    true => *lengths.last_mut().expect("a length") += 1,
                    false if lengths.last() != Some(&0) => lengths.push(0),
                    false => {}
                }
            }
            lengths
        };
        assert_eq!(rows(&english), rows(&chinese), "{}", chinese.path);
    }
}
