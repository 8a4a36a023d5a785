//! Makes a statement that shows a difference shorter while it still does.
use crate::statement::Case;

/// Most attempts: each is a statement run three times.
const ATTEMPTS: usize = 400;

/// Drops runs of tokens from each step as long as `differs` holds.
pub fn shrink(case: &Case, mut differs: impl FnMut(&Case) -> bool) -> Case {
    let mut best = case.clone();
    let mut attempts = 0;
    for step in 0..case.steps.len() {
        let mut size = tokens(&best.steps[step].sql).len() / 2;
        while size > 0 {
            let mut at = 0;
            let mut shrunk = false;
            loop {
                let words = tokens(&best.steps[step].sql);
                if at + size > words.len() || attempts > ATTEMPTS {
                    break;
                }
                let kept: Vec<&str> = words[..at]
                    .iter()
                    .chain(&words[at + size..])
                    .map(String::as_str)
                    .collect();
                let mut shorter = best.clone();
                shorter.steps[step].sql = kept.join(" ");
                attempts += 1;
                if has_one_result(&shorter.steps[step].sql) && differs(&shorter) {
                    best = shorter;
                    shrunk = true;
                } else {
                    at += 1;
                }
            }
            if !shrunk || size > 1 {
                size /= 2;
            }
        }
    }
    best
}

fn tokens(sql: &str) -> Vec<String> {
    pgveil::sql::lex::tokens(sql).map_or_else(
        |_| vec![sql.to_owned()],
        |tokens| {
            tokens
                .iter()
                .map(|token| token.text(sql).to_owned())
                .collect()
        },
    )
}

/// A shortened statement whose result is left open by SQL would differ for nothing: it keeps an order for each limit.
fn has_one_result(sql: &str) -> bool {
    let count = |word: &str| sql.matches(word).count();
    let open = count("LIMIT")
        + count("FETCH FIRST")
        + count("DISTINCT ON")
        + count("agg")
        + count("row_number");
    count("ORDER BY") >= open
}
