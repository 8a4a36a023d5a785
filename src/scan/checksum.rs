//! Check digits of identifiers, and forms that a regular expression cannot tell. Each takes a value that its pattern in
//! `data/values.tsv` let pass, and says whether the rest holds too.

/// The check of a name in the table; `None` for a name that is none.
pub fn named(name: &str) -> Option<fn(&str) -> bool> {
    Some(match name {
        "-" => |_| true,
        "luhn" => luhn,
        "iban" => iban,
        "cn_id" => cn_id,
        "cn_id15" => |text| date(&digits(text), 6, Century::Of19),
        "de_steuer_id" => de_steuer_id,
        "fr_nir" => fr_nir,
        "es_dni" => es_dni,
        "it_cf" => it_cf,
        "nl_bsn" => nl_bsn,
        "pl_pesel" => pl_pesel,
        "se_personnummer" => se_personnummer,
        "be_rrn" => be_rrn,
        "pt_nif" => pt_nif,
        "ro_cnp" => ro_cnp,
        "fi_hetu" => fi_hetu,
        "ddmmyy" => {
            |text| matches!(digits(text).as_slice(), [d1, d2, m1, m2, ..] if day(*d1, *d2, *m1, *m2))
        }
        "us_ssn" => us_ssn,
        "ip" => ip,
        "lat_lon" => lat_lon,
        _ => return None,
    })
}

fn digits(text: &str) -> Vec<u32> {
    text.chars().filter_map(|c| c.to_digit(10)).collect()
}

fn weighted(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(d, w)| d * w).sum()
}

/// The value of the digits as one number; at most 19 of them.
fn number(digits: &[u32]) -> u64 {
    digits
        .iter()
        .take(19)
        .fold(0, |sum, digit| sum * 10 + u64::from(*digit))
}

/// All the same digit: passes many checks and is nobody's number.
fn flat(digits: &[u32]) -> bool {
    digits.windows(2).all(|pair| pair.first() == pair.last())
}

/// ISO/IEC 7812-1 annex B.
fn luhn(text: &str) -> bool {
    let digits = digits(text);
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => *digit,
            (_, double) => double / 10 + double % 10,
        })
        .sum();
    !flat(&digits) && sum.is_multiple_of(10)
}

/// ISO 13616: the first four characters go to the end, letters count from 10, the rest of a division by 97 is 1.
fn iban(text: &str) -> bool {
    let compact: Vec<u32> = text.chars().filter_map(|c| c.to_digit(36)).collect();
    let Some((head, tail)) = compact.split_at_checked(4) else {
        return false;
    };
    let rest = tail.iter().chain(head).fold(0, |rest, value| match value {
        0..=9 => (rest * 10 + value) % 97,
        _ => (rest * 100 + value) % 97,
    });
    rest == 1
}

/// GB 11643: a date within, ISO 7064 MOD 11-2 at the end.
fn cn_id(text: &str) -> bool {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let digits: Vec<u32> = text
        .chars()
        .take(17)
        .filter_map(|c| c.to_digit(10))
        .collect();
    let Some(last) = text.chars().last() else {
        return false;
    };
    let expected = "10X98765432"
        .chars()
        .nth((weighted(&digits, &WEIGHTS) % 11) as usize);
    date(&digits, 6, Century::Written) && expected == Some(last.to_ascii_uppercase())
}

enum Century {
    Written,
    Of19,
}

/// Whether a date stands at a place: `YYYYMMDD` of 1900 to 2099, or `YYMMDD`.
fn date(digits: &[u32], at: usize, century: Century) -> bool {
    let rest = digits.get(at..).unwrap_or_default();
    let month_and_day = match (century, rest) {
        (Century::Written, [1, 9, _, _, rest @ ..] | [2, 0, _, _, rest @ ..]) => rest,
        (Century::Of19, [_, _, rest @ ..]) => rest,
        _ => return false,
    };
    matches!(month_and_day, [m1, m2, d1, d2, ..] if day(*d1, *d2, *m1, *m2))
}

fn day(d1: u32, d2: u32, m1: u32, m2: u32) -> bool {
    (1..=31).contains(&(d1 * 10 + d2)) && (1..=12).contains(&(m1 * 10 + m2))
}

/// ISO 7064 MOD 11,10; of the first ten digits one stands two or three times, the others once at most.
fn de_steuer_id(text: &str) -> bool {
    let digits = digits(text);
    let Some((check, body)) = digits.split_last() else {
        return false;
    };
    let count = |wanted: u32| body.iter().filter(|digit| **digit == wanted).count();
    let repeated: Vec<usize> = (0..10).map(count).filter(|count| *count > 1).collect();
    let product = body.iter().fold(10, |product, digit| {
        let sum = match (digit + product) % 10 {
            0 => 10,
            sum => sum,
        };
        sum * 2 % 11
    });
    matches!(repeated.as_slice(), [2 | 3]) && (11 - product) % 10 == *check
}

/// The rest of a division by 97 is taken from 97; Corsica's departments count as 19 and 18.
fn fr_nir(text: &str) -> bool {
    let plain = text.replace("2A", "19").replace("2B", "18");
    let digits = digits(&plain);
    let Some((body, key)) = digits.split_at_checked(13) else {
        return false;
    };
    97 - number(body) % 97 == number(key)
}

fn es_dni(text: &str) -> bool {
    let plain = match text.chars().next() {
        Some('Y') => format!("1{text}"),
        Some('Z') => format!("2{text}"),
        _ => text.to_owned(),
    };
    let place = (number(&digits(&plain)) % 23) as usize;
    "TRWAGMYFPDXBNJZSQVHLCKE".chars().nth(place) == text.chars().last()
}

/// D.M. 23/12/1976: letters and digits at odd places have values of their own.
fn it_cf(text: &str) -> bool {
    const ODD: [u32; 26] = [
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24,
        23,
    ];
    let value = |c: char| match c {
        '0'..='9' => c.to_digit(10),
        _ => u32::from(c).checked_sub(u32::from('A')),
    };
    let sum: Option<u32> = text
        .chars()
        .take(15)
        .enumerate()
        .map(|(place, c)| match place % 2 {
            0 => ODD.get(value(c)? as usize).copied(),
            _ => value(c),
        })
        .sum();
    let last = text.chars().last().and_then(value);
    sum.is_some_and(|sum| Some(sum % 26) == last)
}

/// The eleven test: weights 9 to 2, the last digit counts -1.
fn nl_bsn(text: &str) -> bool {
    let mut digits = digits(text);
    if digits.len() == 8 {
        digits.insert(0, 0);
    }
    let Some((check, body)) = digits.split_last() else {
        return false;
    };
    let sum = weighted(body, &[9, 8, 7, 6, 5, 4, 3, 2]);
    !flat(&digits) && sum % 11 == *check
}

/// A date whose month says the century, weights 1 3 7 9.
fn pl_pesel(text: &str) -> bool {
    let digits = digits(text);
    let [_, _, m1, m2, d1, d2, _, _, _, _, check] = digits.as_slice() else {
        return false;
    };
    let sum = weighted(&digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3]);
    day(*d1, *d2, m1 % 2, *m2) && (10 - sum % 10) % 10 == *check
}

/// Luhn over ten digits that begin with a date; the day is 60 more for coordination numbers.
fn se_personnummer(text: &str) -> bool {
    let all = digits(text);
    let digits = match all.len() {
        12 => all.get(2..).unwrap_or_default(),
        _ => &all,
    };
    let [_, _, m1, m2, d1, d2, ..] = digits else {
        return false;
    };
    let text: String = digits
        .iter()
        .filter_map(|d| char::from_digit(*d, 10))
        .collect();
    day(d1 % 6, *d2, *m1, *m2) && luhn(&text)
}

/// 97 less the rest of the first nine digits, a 2 before them for births since 2000.
fn be_rrn(text: &str) -> bool {
    let digits = digits(text);
    let Some((body, key)) = digits.split_at_checked(9) else {
        return false;
    };
    let (number, key) = (number(body), number(key));
    date(&digits, 0, Century::Of19)
        && (97 - number % 97 == key || 97 - (2_000_000_000 + number) % 97 == key)
}

fn pt_nif(text: &str) -> bool {
    let digits = digits(text);
    let sum = weighted(&digits, &[9, 8, 7, 6, 5, 4, 3, 2]);
    let check = match sum % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    };
    !flat(&digits) && digits.last() == Some(&check)
}

fn ro_cnp(text: &str) -> bool {
    let digits = digits(text);
    let sum = weighted(&digits, &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]);
    let check = match sum % 11 {
        10 => 1,
        rest => rest,
    };
    date(&digits, 1, Century::Of19) && digits.last() == Some(&check)
}

fn fi_hetu(text: &str) -> bool {
    let digits: Vec<u32> = text
        .chars()
        .take(10)
        .filter_map(|c| c.to_digit(10))
        .collect();
    let [d1, d2, m1, m2, ..] = digits.as_slice() else {
        return false;
    };
    let place = (number(&digits) % 31) as usize;
    let expected = "0123456789ABCDEFHJKLMNPRSTUVWXY".chars().nth(place);
    day(*d1, *d2, *m1, *m2) && expected == text.chars().last()
}

/// 20 CFR 422.103: area 000, 666 and 9xx, group 00 and serial 0000 were never given out.
fn us_ssn(text: &str) -> bool {
    let parts: Vec<u32> = text
        .split('-')
        .filter_map(|part| part.parse().ok())
        .collect();
    matches!(parts.as_slice(), [area, group, serial]
        if (1..900).contains(area) && *area != 666 && *group > 0 && *serial > 0)
}

/// An address of either version, with a prefix length or without. Loopback and 0.0.0.0 are nobody's.
fn ip(text: &str) -> bool {
    let address = text.split_once('/').map_or(text, |(address, _)| address);
    let parsed: Result<std::net::IpAddr, _> = address.parse();
    parsed.is_ok_and(|address| !address.is_loopback() && !address.is_unspecified())
}

fn lat_lon(text: &str) -> bool {
    let parts: Vec<f64> = text
        .trim_matches(['(', ')', '[', ']'])
        .split(',')
        .filter_map(|part| part.trim().parse().ok())
        .collect();
    matches!(parts.as_slice(), [lat, lon] if lat.abs() <= 90.0 && lon.abs() <= 180.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that the laws and standards themselves or their issuers print as examples, and others computed by hand.
    #[test]
    fn good_numbers_pass_and_a_changed_digit_does_not() {
        for (check, good) in [
            ("luhn", "4111111111111111"),
            ("luhn", "5555 5555 5555 4444"),
            ("iban", "DE89370400440532013000"),
            ("iban", "GB29 NWBK 6016 1331 9268 19"),
            ("cn_id", "11010519491231002X"),
            ("de_steuer_id", "86095742719"),
            ("fr_nir", "255081416802538"),
            ("es_dni", "12345678Z"),
            ("it_cf", "RSSMRA85T10A562S"),
            ("nl_bsn", "111222333"),
            ("pl_pesel", "44051401359"),
            ("se_personnummer", "811218-9876"),
            ("be_rrn", "85073003328"),
            ("pt_nif", "123456789"),
            ("ro_cnp", "1960523460008"),
            ("fi_hetu", "131052-308T"),
            ("us_ssn", "078-05-1120"),
            ("ip", "2001:db8::1"),
            ("lat_lon", "52.5200, 13.4050"),
        ] {
            let passes = named(check).unwrap();
            assert!(passes(good), "{check} {good}");
            if matches!(check, "us_ssn" | "ip" | "lat_lon") {
                continue;
            }
            // Every one of these schemes finds a single wrong digit; the dates within need not be wrong.
            let places: Vec<usize> = good
                .char_indices()
                .filter(|(_, c)| c.is_ascii_digit())
                .map(|(at, _)| at)
                .collect();
            let last = *places.last().unwrap();
            let digit = good[last..=last].parse::<u32>().unwrap();
            let wrong = format!("{}{}{}", &good[..last], (digit + 1) % 10, &good[last + 1..]);
            assert!(!passes(&wrong), "{check} {wrong}");
        }
        assert!(!named("us_ssn").unwrap()("666-12-1234"));
        assert!(!named("ip").unwrap()("1.2.3.400"));
        assert!(!named("lat_lon").unwrap()("152.5200, 13.4050"));
    }
}
