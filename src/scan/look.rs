//! From names, type and sample of one column to the class it probably belongs to. Pure.
use super::class::{Class, Kind};
use super::name::{self, Hint, Name};
use super::tally::{Sample, Score, Tally};

/// What is known of a column without its values.
#[derive(Debug, Clone)]
pub struct Subject {
    pub name: Name,
    pub comment: Option<Name>,
    pub table: Name,
    /// The table's rows are people.
    pub people: bool,
    pub kind: Kind,
    /// The type as people write it, for evidence.
    pub type_name: String,
    /// For the ages of dates.
    pub this_year: i32,
}

/// A class that a column probably belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub class: &'static Class,
    /// From 0 to 1.
    pub confidence: f64,
    /// Sentences without any value of the database.
    pub evidence: Vec<String>,
}

/// Comments say more about a column than their words.
const COMMENT: f64 = 0.75;
/// Longer comments tell stories, in which any word may stand (words).
const MAX_COMMENT: usize = 16;
/// So few values prove little.
const FEW: usize = 3;
const SOME: usize = 8;
/// So many values without the form of a class speak against it.
const ENOUGH: usize = 8;

/// The likeliest class, or `None` where nothing speaks for any.
pub fn look(subject: &Subject, sample: &Sample) -> Option<Finding> {
    let tally = Tally::of(sample, subject.kind, subject.this_year);
    let hints = name::hints(&subject.name.in_table(&subject.table), subject.people);
    let comments = comment_hints(subject);
    let mut findings: Vec<Finding> = Class::all()
        .iter()
        .filter(|class| class.holds(subject.kind))
        .filter_map(|class| weigh(class, subject, &hints, &comments, &tally))
        .collect();
    findings.extend(mixed(subject, &tally));
    findings.extend(free_text(subject, &hints, &tally, &findings));
    findings
        .into_iter()
        .max_by(|one, other| one.confidence.total_cmp(&other.confidence))
}

fn comment_hints(subject: &Subject) -> Vec<Hint> {
    let Some(comment) = &subject.comment else {
        return Vec::new();
    };
    match comment.len() <= MAX_COMMENT {
        true => name::hints(comment, false),
        false => Vec::new(),
    }
}

/// Independent signs add up as chances do: `1 - (1 - a)(1 - b)`.
fn both(one: f64, other: f64) -> f64 {
    1.0 - (1.0 - one) * (1.0 - other)
}

fn weigh(
    class: &'static Class,
    subject: &Subject,
    hints: &[Hint],
    comments: &[Hint],
    tally: &Tally,
) -> Option<Finding> {
    let of = |hints: &[Hint]| hints.iter().find(|hint| hint.class == class).cloned();
    let mut evidence = Vec::new();
    let mut named = 0.0;
    if let Some(hint) = of(hints) {
        named = hint.strength;
        evidence.push(format!("name matches `{}`", hint.pattern));
    }
    if let Some(hint) = of(comments) {
        named = both(named, hint.strength * COMMENT);
        evidence.push(format!("comment matches `{}`", hint.pattern));
    }
    let score = tally
        .scores
        .iter()
        .find(|score| score.class == class)
        .cloned();
    let score = match single_names(class, named, tally) {
        Some(single)
            if score
                .as_ref()
                .is_none_or(|score| score.share < single.share) =>
        {
            Some(single)
        }
        _ => score,
    };
    let share = score.as_ref().map_or(0.0, |score| score.share);
    let valued = score.as_ref().map_or(0.0, |score| strength(score, tally));
    // What hardly anything else looks like stays what it is, whatever it is called.
    let plain = score.as_ref().is_some_and(|score| score.specific < 0.95);
    let valued = match plain && named < 0.3 && speaks_against(class, subject) {
        true => valued * 0.3,
        false => valued,
    };
    // Whole numbers of any column pass a check digit now and then, and are phone numbers somewhere.
    let valued = match (subject.kind, named < 0.3) {
        (Kind::Integer | Kind::Decimal, true) => valued * 0.75,
        _ => valued,
    };
    let typed = by_type(class, subject.kind, named);
    if class.formed && tally.values >= ENOUGH && typed == 0.0 {
        named *= match share {
            share if share < 0.1 => doubt(class, tally),
            share if share < 0.3 => 0.75,
            _ => 1.0,
        };
    }
    if let Some(score) = score.filter(|_| share > 0.02) {
        let percent = (share * 100.0).round().min(100.0);
        let values = tally.values;
        evidence.push(match score.title {
            "speak of health" => {
                format!("{percent:.0} % of {values} sampled values speak of health")
            }
            title => format!("{percent:.0} % of {values} sampled values are {title}"),
        });
    }
    if typed > 0.0 {
        evidence.push(format!("type is {}", subject.type_name));
    }
    let confidence = both(both(named, valued), typed);
    (confidence > 0.05).then_some(Finding {
        class,
        confidence,
        evidence,
    })
}

/// How much is left of a name where the values have not its form. Lists of names hold not every name, addresses have no form that
/// all share.
fn doubt(class: &Class, tally: &Tally) -> f64 {
    match class.name {
        "person_name" if tally.distinct * 10 > tally.values => 0.72,
        "address" => 0.85,
        "health" => 0.85,
        "birth_date" => 0.8,
        "device" | "geo" | "plate" | "national_id" => 0.8,
        "free_text" => 0.0,
        _ => 0.25,
    }
}

fn single_names(class: &'static Class, named: f64, tally: &Tally) -> Option<Score> {
    (class.name == "person_name" && named >= 0.5 && tally.single_names > 0.05).then_some(Score {
        class,
        share: tally.single_names,
        specific: 0.7,
        title: "names of people",
    })
}

fn strength(score: &Score, tally: &Tally) -> f64 {
    let share = match (score.class.name, score.share) {
        // Weighed when it was counted.
        ("health", _) => 1.0,
        (_, share) if share >= 0.5 => (share * 1.2).min(1.0),
        (_, share) => share * 0.7,
    };
    let count = match tally.values {
        values if values < FEW => 0.5,
        values if values < SOME => 0.85,
        _ => 1.0,
    };
    score.specific * share * count
}

/// The column's name, and for names the table's: things are called after people.
fn speaks_against(class: &Class, subject: &Subject) -> bool {
    name::against(class, &subject.name)
        || class.name == "person_name" && !subject.people && name::against(class, &subject.table)
}

/// What a type alone says.
fn by_type(class: &Class, kind: Kind, named: f64) -> f64 {
    match (class.name, kind) {
        ("ip", Kind::Address) => 0.7,
        ("device", Kind::Hardware) => 0.8,
        ("geo", Kind::Place) => 0.65,
        // A date that is called birth, a binary column that is called key.
        ("birth_date", Kind::Date) | ("secret", Kind::Bytes) if named >= 0.5 => 0.3,
        _ => 0.0,
    }
}

/// One column of several ways to reach somebody.
fn mixed(subject: &Subject, tally: &Tally) -> Option<Finding> {
    let share = |name: &str| {
        let score = tally.scores.iter().find(|score| score.class.name == name);
        score.map_or(0.0, |score| score.share)
    };
    let (phones, mails) = (share("phone"), share("email"));
    let class = Class::named("contact")?;
    if subject.kind != Kind::Text || phones < 0.1 || mails < 0.1 || tally.values < SOME {
        return None;
    }
    let percent = |share: f64| (share * 100.0).round();
    Some(Finding {
        class,
        confidence: 0.97 * (tally.contact * 1.25).min(1.0),
        evidence: vec![format!(
            "{:.0} % of {} sampled values are phone numbers, {:.0} % e-mail addresses",
            percent(phones),
            tally.values,
            percent(mails)
        )],
    })
}

/// Texts that hold personal data of other classes.
fn free_text(
    subject: &Subject,
    hints: &[Hint],
    tally: &Tally,
    others: &[Finding],
) -> Option<Finding> {
    let class = Class::named("free_text")?;
    let named = hints.iter().find(|hint| hint.class == class);
    let long = tally.worded > 0.5;
    let whole = others.iter().any(|other| other.confidence > 0.85);
    if subject.kind != Kind::Text || tally.texts == 0 || !long || whole {
        return None;
    }
    let share = tally.texts as f64 / tally.values as f64;
    // One text of many is an accident, and one all the same.
    let found = match tally.texts {
        1 => 0.45,
        _ => 0.68 + 0.3 * (share * 4.0).min(1.0),
    };
    let kinds: Vec<&str> = tally.within.keys().copied().collect();
    let mut evidence = vec![format!(
        "{} of {} sampled texts hold {}",
        tally.texts,
        tally.values,
        kinds.join(", ")
    )];
    if let Some(hint) = named {
        evidence.push(format!("name matches `{}`", hint.pattern));
    }
    let named = named.map_or(0.0, |hint| hint.strength);
    Some(Finding {
        class,
        confidence: both(found, named * 0.5),
        evidence,
    })
}
