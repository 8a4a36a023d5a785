//! Tables that are data files beside the code: lines of fields with tabs between, `#` for comments.

/// The lines of a table that hold exactly so many fields. Others are left out; a test sees to it that there are none.
pub(super) fn rows<const N: usize>(text: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .filter_map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            fields.try_into().ok()
        })
}

/// The words of a list, its comments left out.
pub(super) fn words(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_whitespace)
}

/// A whole number of percent as a share of one.
pub(super) fn percent(text: &str) -> f64 {
    f64::from(text.parse::<u8>().unwrap_or(0)) / 100.0
}

#[cfg(test)]
pub(super) fn lines(text: &str) -> usize {
    let lines = text.lines();
    lines
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .count()
}
