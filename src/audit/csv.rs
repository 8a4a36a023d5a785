//! Comma-separated values (RFC 4180) that are safe to open in a spreadsheet.
use std::io::{self, Write};

/// What makes a spreadsheet take a cell for a formula (OWASP, CSV Injection). A user's name may well be one.
const FORMULA: [char; 4] = ['=', '+', '-', '@'];

/// Writes one line. Control characters become spaces; before a cell that would be a formula stands an apostrophe.
///
/// # Errors
/// Those of `out`.
pub fn line<'c>(out: &mut impl Write, cells: impl IntoIterator<Item = &'c str>) -> io::Result<()> {
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        write_cell(out, cell)?;
    }
    out.write_all(b"\r\n")
}

fn write_cell(out: &mut impl Write, cell: &str) -> io::Result<()> {
    let plain: String = cell
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let guard = match plain.trim_start().starts_with(FORMULA) {
        true => "'",
        false => "",
    };
    match plain.contains([',', '"', ' ', '\'']) {
        true => write!(out, "\"{guard}{}\"", plain.replace('"', "\"\"")),
        false => write!(out, "{guard}{plain}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be_and_never_formulas() {
        for (cells, expected) in [
            (vec!["a", "b"], "a,b\r\n"),
            (vec!["a,b", "say \"x\""], "\"a,b\",\"say \"\"x\"\"\"\r\n"),
            (vec!["", "王芳"], ",王芳\r\n"),
            (vec!["=1+1"], "'=1+1\r\n"),
            (vec!["+1", "-1", "@x"], "'+1,'-1,'@x\r\n"),
            (vec!["\t=1"], "\"' =1\"\r\n"),
            (vec!["\r=cmd|' /C calc'!A0"], "\"' =cmd|' /C calc'!A0\"\r\n"),
            (vec!["a\nb"], "\"a b\"\r\n"),
        ] {
            let mut out = Vec::new();
            line(&mut out, cells).expect("written");
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }
}
