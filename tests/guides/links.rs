//! Links lead to files and headings that are there.
use std::path::Path;

use crate::text::{Document, all, root};

/// What stands in `](...)`, in prose.
fn targets(document: &Document) -> Vec<String> {
    let mut targets = Vec::new();
    for line in document.lines().iter().filter(|line| !line.code) {
        // Code between backticks links nowhere.
        let prose: Vec<&str> = line.text.split('`').step_by(2).collect();
        for rest in prose.join("").split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default();
            targets.push(target.to_owned());
        }
    }
    targets
}

/// A heading as the part of an address behind `#`: as GitHub makes it.
fn anchor(heading: &str) -> String {
    let plain = heading.to_lowercase();
    let kept = plain
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_between_documents_lead_somewhere_and_pictures_exist() {
    let mut followed = 0;
    for document in all() {
        let folder = Path::new(&document.path).parent().expect("a folder");
        for target in targets(&document) {
            if target.starts_with("https://") {
                continue;
            }
            let (file, part) = match target.split_once('#') {
                Some((file, part)) => (file, Some(part)),
                None => (target.as_str(), None),
            };
            let path = match file {
                "" => root().join(&document.path),
                file => root().join(folder).join(file),
            };
            assert!(path.exists(), "{}: {target} is not there", document.path);
            if let Some(part) = part {
                let path = path.to_str().expect("a path");
                let other = Document::read(path);
                let found = other
                    .headings()
                    .iter()
                    .any(|(_, heading)| anchor(heading) == part);
                assert!(found, "{}: {target} is no heading", document.path);
            }
            followed += 1;
        }
    }
    assert!(followed > 40, "{followed} links");
}

#[test]
fn an_anchor_is_as_github_makes_it() {
    assert_eq!(anchor("What is not there yet"), "what-is-not-there-yet");
    assert_eq!(anchor("Reload, drain, upgrade"), "reload-drain-upgrade");
    assert_eq!(anchor("事件与 72 小时"), "事件与-72-小时");
}
