//! What the values of a sample look like, counted.
use std::collections::{BTreeMap, HashMap, HashSet};

use phonenumber::country::Id;

use super::class::{Class, Kind};
use super::name::is_han;
use super::pattern::Pattern;
use super::person::{self, Likeness};
use super::phone::{self, Form, Line};
use super::secret::{self, Random};
use super::text;

/// What was read of a column.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// As text; NULL and empty values left out.
    pub values: Vec<String>,
    /// Values that were left out because of their size.
    pub oversized: usize,
}

/// A sample's likeness to one class.
#[derive(Debug, Clone)]
pub struct Score {
    pub class: &'static Class,
    /// Of the values, from 0 to 1.
    pub share: f64,
    /// How sure a column full of such values makes.
    pub specific: f64,
    /// In a sentence: `Chinese mobile numbers`.
    pub title: &'static str,
}

#[derive(Debug)]
pub struct Tally {
    pub values: usize,
    pub distinct: usize,
    /// The strongest of each class.
    pub scores: Vec<Score>,
    /// Texts with something personal in them, and how many have what.
    pub texts: usize,
    pub within: BTreeMap<&'static str, usize>,
    /// One word that is a name: counts for columns that are called so.
    pub single_names: f64,
    /// The share of values with blanks in them.
    pub worded: f64,
    /// Share of the values that are phone numbers or e-mail addresses.
    pub contact: f64,
}

impl Tally {
    pub fn of(sample: &Sample, kind: Kind, this_year: i32) -> Self {
        let values: Vec<&str> = sample.values.iter().map(|value| value.trim()).collect();
        let distinct = values.iter().collect::<HashSet<_>>().len();
        let mut tally = Tally {
            values: values.len(),
            distinct,
            scores: Vec::new(),
            texts: 0,
            within: BTreeMap::new(),
            single_names: 0.0,
            worded: 0.0,
            contact: 0.0,
        };
        if values.is_empty() {
            return tally;
        }
        match kind {
            Kind::Date | Kind::Time => tally.dates(&values, this_year),
            Kind::Text | Kind::Integer | Kind::Decimal => {
                tally.patterns(&values);
                tally.phones(&values);
                if kind == Kind::Text {
                    tally.people(&values);
                    tally.secrets(&values);
                    tally.texts(&values);
                    tally.dates(&values, this_year);
                }
                if kind == Kind::Decimal {
                    tally.degrees(&values);
                }
            }
            _ => {}
        }
        tally.scores.retain(|score| score.class.holds(kind));
        tally
    }

    fn add(&mut self, class: &str, share: f64, specific: f64, title: &'static str) {
        if let Some(class) = Class::named(class).filter(|_| share > 0.0) {
            self.scores.push(Score {
                class,
                share,
                specific,
                title,
            });
        }
    }

    /// Of several patterns of one class a value has to have one; the most frequent one names them.
    fn patterns(&mut self, values: &[&str]) {
        let mut by_pattern: Vec<usize> = vec![0; Pattern::all().len()];
        let mut by_class: HashMap<&'static str, usize> = HashMap::new();
        let mut checked_by_class: HashMap<&'static str, f64> = HashMap::new();
        for value in values {
            let mut classes: HashMap<&'static str, f64> = HashMap::new();
            for (count, pattern) in by_pattern.iter_mut().zip(Pattern::all()) {
                if pattern.matches(value) {
                    *count += 1;
                    let specific = classes.entry(pattern.class.name).or_default();
                    *specific = specific.max(pattern.specific);
                }
            }
            for (class, specific) in classes {
                *by_class.entry(class).or_default() += 1;
                *checked_by_class.entry(class).or_default() += specific;
            }
        }
        let total = values.len() as f64;
        for (class, count) in by_class {
            let named = Pattern::all()
                .iter()
                .zip(&by_pattern)
                .filter(|(pattern, _)| pattern.class.name == class)
                .max_by_key(|(_, count)| **count);
            let specific = checked_by_class.get(class).copied().unwrap_or_default() / count as f64;
            if let Some((pattern, _)) = named {
                self.add(class, count as f64 / total, specific, pattern.title);
            }
        }
        self.scores.sort_by_key(|score| score.class.name);
    }

    fn phones(&mut self, values: &[&str]) {
        let international: Vec<Option<Line>> = values
            .iter()
            .map(|value| phone::international(value))
            .collect();
        let abroad = international.iter().flatten().count();
        let local: Vec<&str> = values
            .iter()
            .zip(&international)
            .filter(|(_, line)| line.is_none())
            .map(|(value, _)| *value)
            .collect();
        let (home, forms, lines) = best_home(&local);
        let mut numbers: BTreeMap<Form, usize> = forms;
        if abroad > 0 {
            numbers.insert(Form::International, abroad);
        }
        let count: usize = numbers.values().sum();
        if count == 0 {
            return;
        }
        let spread = phone::spread(values);
        let specific: f64 = numbers
            .iter()
            .map(|(form, count)| {
                let specific = match (form, spread) {
                    (Form::International, _) => 0.96,
                    (Form::ChineseMobile, true) => 0.82,
                    (Form::Grouped, true) => 0.68,
                    (Form::Bare, true) => 0.25,
                    (_, false) => 0.1,
                };
                specific * *count as f64
            })
            .sum();
        let mobile = lines
            + international
                .iter()
                .filter(|line| **line == Some(Line::Mobile))
                .count();
        let mostly_mobile = mobile * 5 >= count * 4;
        let title = match (abroad * 2 > count, home, mostly_mobile) {
            (false, Some(Id::CN), true) => "Chinese mobile numbers",
            (false, Some(Id::CN), false) => "Chinese phone numbers",
            (_, _, true) => "mobile numbers",
            (_, _, false) => "phone numbers",
        };
        let share = count as f64 / values.len() as f64;
        self.add("phone", share, specific / count as f64, title);
        let mails = self.scores.iter().find(|score| score.class.name == "email");
        self.contact = (share + mails.map_or(0.0, |score| score.share)).min(1.0);
    }

    fn people(&mut self, values: &[&str]) {
        let mut counts: HashMap<&'static str, usize> = HashMap::new();
        for value in values {
            let kind = match person::likeness(value) {
                Likeness::Chinese => "chinese",
                Likeness::Latin => "latin",
                Likeness::Shape => "shape",
                Likeness::Single => "single",
                Likeness::None => continue,
            };
            *counts.entry(kind).or_default() += 1;
        }
        let of = |kind: &str| counts.get(kind).copied().unwrap_or_default() as f64;
        let total = values.len() as f64;
        let (chinese, latin, shape) = (of("chinese"), of("latin"), of("shape"));
        // Where a good part of the names are known, the unknown ones beside them are names, too.
        let known = chinese + latin;
        let shaped = match latin >= 0.25 * (latin + shape) {
            true => shape * 0.9,
            false => 0.0,
        };
        self.single_names = of("single") / total;
        let title = match chinese > latin {
            true => "Chinese names of people",
            false => "names of people",
        };
        let mut specific: f64 = match chinese > latin {
            true => 0.74,
            false => 0.72,
        };
        // Words of a short list that look like names are categories.
        if values.len() >= 100 && self.distinct * 20 < values.len() {
            specific *= 0.4;
        }
        self.add("person_name", (known + shaped) / total, specific, title);
    }

    fn secrets(&mut self, values: &[&str]) {
        let random: Vec<Random> = values
            .iter()
            .filter_map(|value| secret::random(value))
            .collect();
        if random.is_empty() || self.distinct * 10 < values.len() * 9 {
            return;
        }
        let mixed = random
            .iter()
            .filter(|random| **random == Random::Mixed)
            .count();
        let (specific, title) = match mixed * 2 > random.len() {
            true => (0.66, "long and random"),
            false => (0.3, "long hexadecimal numbers"),
        };
        let share = random.len() as f64 / values.len() as f64;
        let known = self
            .scores
            .iter()
            .any(|score| score.class.name == "secret" && score.share >= share);
        if !known {
            self.scores.retain(|score| score.class.name != "secret");
            self.add("secret", share, specific, title);
        }
    }

    fn texts(&mut self, values: &[&str]) {
        let worded = |value: &&&str| {
            // Chinese is written without blanks.
            let long = if value.chars().any(is_han) { 12 } else { 24 };
            value.contains(' ') || value.chars().count() > long
        };
        self.worded = values.iter().filter(worded).count() as f64 / values.len() as f64;
        let mut health = 0;
        for value in values {
            let found = text::within(value);
            if !found.is_empty() {
                self.texts += 1;
            }
            for title in found {
                *self.within.entry(title).or_default() += 1;
            }
            if text::speaks_of_health(value) {
                health += 1;
            }
        }
        let share = health as f64 / values.len() as f64;
        let codes = self
            .scores
            .iter()
            .find(|score| score.class.name == "health");
        if codes.is_none_or(|codes| codes.share * codes.specific < share) {
            self.scores.retain(|score| score.class.name != "health");
            // A third of all values is plenty: no list holds every disease.
            let specific = (0.8 * share * 3.0).min(0.8);
            self.add("health", share, specific, "speak of health");
        }
    }

    /// Dates that lie as far apart as birth dates do.
    fn dates(&mut self, values: &[&str], this_year: i32) {
        let mut ages: Vec<i32> = values
            .iter()
            .filter_map(|value| Some(this_year - year(value)?))
            .collect();
        ages.sort_unstable();
        let at = |share: usize| {
            ages.get(ages.len().saturating_sub(1) * share / 100)
                .copied()
        };
        let (Some(young), Some(middle), Some(old)) = (at(5), at(50), at(95)) else {
            return;
        };
        let fits = young >= 0 && (14..=85).contains(&middle) && old <= 110 && old - young >= 15;
        let share = ages.len() as f64 / values.len() as f64;
        if fits {
            self.add("birth_date", share, 0.45, "dates as far back as births");
        }
    }

    /// Numbers that can be degrees, with the digits that a position needs.
    fn degrees(&mut self, values: &[&str]) {
        let fits = |value: &&&str| {
            let number: Option<f64> = value.parse().ok();
            let precise = value
                .split_once('.')
                .is_some_and(|(_, digits)| digits.len() >= 4);
            precise && number.is_some_and(|number| number.abs() <= 180.0)
        };
        let count = values.iter().filter(fits).count();
        self.add(
            "geo",
            count as f64 / values.len() as f64,
            0.35,
            "numbers as positions have",
        );
    }
}

/// The country whose national forms most of the values have, how many in which form, and how many are mobile numbers.
fn best_home(values: &[&str]) -> (Option<Id>, BTreeMap<Form, usize>, usize) {
    const FIRST: usize = 60;
    let count = |home: Id, values: &[&str]| {
        let mut forms: BTreeMap<Form, usize> = BTreeMap::new();
        let mut mobile = 0;
        for (form, line) in values
            .iter()
            .filter_map(|value| phone::national(home, value))
        {
            *forms.entry(form).or_default() += 1;
            mobile += usize::from(line == Line::Mobile);
        }
        (forms, mobile)
    };
    // The rest of a sample is looked at for the country that fits its beginning best.
    let few = values.get(..FIRST.min(values.len())).unwrap_or_default();
    let best = phone::HOMES
        .into_iter()
        .map(|home| {
            let (forms, _) = count(home, few);
            let weight = |form: &Form| match form {
                Form::Bare => 2,
                _ => 3,
            };
            (
                home,
                forms
                    .iter()
                    .map(|(form, count)| weight(form) * count)
                    .sum::<usize>(),
            )
        })
        // The first of equals, which is why the order of the countries matters.
        .fold(None, |best: Option<(Id, usize)>, this| match best {
            Some(best) if best.1 >= this.1 => Some(best),
            _ => Some(this),
        });
    match best {
        Some((home, weight)) if weight > 0 => {
            let (forms, mobile) = count(home, values);
            (Some(home), forms, mobile)
        }
        _ => (None, BTreeMap::new(), 0),
    }
}

/// The year of a date as PostgreSQL and people write it: `1968-01-18`, `1968/1/18`, `18.01.1968`, `19680118`. What has a time of
/// day other than midnight is a moment.
fn year(value: &str) -> Option<i32> {
    let (date, time) = value.split_once([' ', 'T']).unwrap_or((value, ""));
    if time
        .bytes()
        .any(|byte| byte.is_ascii_digit() && byte != b'0')
        && !time.starts_with("00:00:00")
    {
        return None;
    }
    let parts: Vec<&str> = date.split(['-', '/', '.']).collect();
    let number = |text: &str| text.parse::<i32>().ok();
    let (year, month) = match parts.as_slice() {
        [year, month, _] if year.len() == 4 => (number(year)?, number(month)?),
        [_, month, year] if year.len() == 4 => (number(year)?, number(month)?),
        [compact] if compact.len() == 8 => {
            (number(compact.get(..4)?)?, number(compact.get(4..6)?)?)
        }
        _ => return None,
    };
    ((1900..=2100).contains(&year) && (1..=31).contains(&month)).then_some(year)
}
