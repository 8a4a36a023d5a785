//! When two names are one person.
use unicode_normalization::UnicodeNormalization;

/// Nobody becomes two people by spelling: names are compared without regard to case, width, composition of accents,
/// surrounding or repeated space, and characters that cannot be seen. Letters of other scripts that look the same stay
/// different; who may be an approver at all is written down by an administrator.
pub fn same_person(one: &str, other: &str) -> bool {
    plain(one) == plain(other)
}

/// The form of a name that is compared.
pub fn plain(name: &str) -> String {
    // Upper case first: `ß` and `ss`, `ſ` and `s`, final and other sigma meet there.
    let folded: String = name
        .nfkc()
        .filter(|c| !is_invisible(*c))
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect();
    let words: Vec<String> = folded
        .split_whitespace()
        .map(|word| word.nfkc().collect())
        .collect();
    words.join(" ")
}

/// Characters that are not drawn, or turn the direction of what is (Unicode categories Cc and Cf, variation selectors).
pub fn is_invisible(c: char) -> bool {
    let format = matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}');
    format || (c.is_control() && !c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_becomes_two_people_by_spelling() {
        for other in [
            "Ann Müller",
            "ann müller",
            "ANN MÜLLER",
            "  Ann \t Müller ",
            "Ann Mu\u{308}ller",
            "Ａｎｎ Müller",
            "An\u{200b}n Mül\u{ad}ler",
            "Ann\u{a0}Müller",
            "\u{202e}Ann Müller",
        ] {
            assert!(same_person("Ann Müller", other), "{other:?}");
        }
        assert!(same_person("Strauß", "STRAUSS"));
        assert!(same_person("ΝΙΚΟΣ", "Νίκος".replace('ί', "ι").as_str()));
    }

    #[test]
    fn two_people_are_not_one() {
        assert!(!same_person("ann", "anna"));
        assert!(!same_person("an n", "ann"));
        assert!(!same_person("王伟", "王玮"));
    }
}
