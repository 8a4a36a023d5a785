//! The rows of the fixture: two sets of secrets with equal masks.
use crate::random::Random;

/// Rows of `crm.contacts`.
const CONTACTS: i64 = 10;

fn quoted(value: Option<String>) -> String {
    value.map_or("NULL".into(), |value| {
        format!("'{}'", value.replace('\'', "''"))
    })
}

fn letters(random: &mut Random, count: usize) -> String {
    (0..count)
        .map(|_| char::from(b'a' + random.below(26) as u8))
        .collect()
}

fn digits(random: &mut Random, count: usize) -> String {
    (0..count)
        .map(|_| char::from(b'0' + random.below(10) as u8))
        .collect()
}

fn phone(random: &mut Random, id: i64) -> Option<String> {
    match id {
        3 => None,
        5 => Some(digits(random, 6)),
        _ => Some(format!("138{}{:04}", digits(random, 4), id / 2)),
    }
}

/// INSERTs of a twin's rows. Twins have other secrets (`secret` decides them) of equal masks, and equal other cells.
pub fn rows(secret: u64) -> String {
    let mut random = Random::new(secret);
    let mut text = String::new();
    for id in 1..=CONTACTS {
        let initial = char::from(b'A' + (id % 4) as u8);
        let name = (id != 7).then(|| format!("{initial}{}", letters(&mut random, 5 + id as usize)));
        let email = match id {
            4 => letters(&mut random, 9),
            _ => {
                let length = 3 + random.below(5);
                format!(
                    "{}{}@mail.example",
                    initial.to_ascii_lowercase(),
                    letters(&mut random, length)
                )
            }
        };
        let salary = format!(
            "{}.{}",
            id % 5 * 5000 + random.between(0, 4999),
            digits(&mut random, 2)
        );
        let born = format!(
            "{}-{:02}-{:02}",
            1970 + id % 3,
            random.between(1, 12),
            random.between(1, 28)
        );
        let profile =
            (id != 2).then(|| format!("{{\"k\": \"{}\", \"n\": {id}}}", letters(&mut random, 4)));
        let count = random.below(3);
        let tags: Vec<String> = (0..count).map(|_| letters(&mut random, 3)).collect();
        let score = id % 4 * 100 + random.between(-49, 49);
        let vip = ["true", "false", "NULL"][random.below(3)];
        let contact_phone = quoted(phone(&mut random, id));
        text += &format!(
            "INSERT INTO contacts VALUES ({id}, {}, {contact_phone}, '{email}', {salary}, '{born}', {}, '{{{}}}', {score}, {vip}, \
             '{}', {}, {});\n",
            quoted(name),
            quoted(profile),
            tags.join(","),
            ["CN", "EU", "US"][(id % 3) as usize],
            id % 3,
            if id % 4 == 0 {
                "NULL".into()
            } else {
                format!("'note {}'", id % 2)
            },
        );
        for kind in ["call", "mail"] {
            let phone = quoted(phone(&mut random, id));
            text += &format!(
                "INSERT INTO events VALUES ({id}, {}, {phone}, '{kind}', '2024-01-{:02}');\n",
                id % 5,
                id
            );
        }
        let [first, second, third] = [(); 3].map(|()| quoted(phone(&mut random, id)));
        text += &format!("INSERT INTO base VALUES ({id}, {first}, 'EU');\n");
        text += &format!("INSERT INTO child VALUES ({id}, {second}, 'CN', 'x{id}');\n");
        text += &format!("INSERT INTO numbers (id, phone, kind) VALUES ({id}, {third}, 'k');\n");
        text += &format!(
            "INSERT INTO deals VALUES ({id}, {}, {}.50, '{}', '2024-02-{:02}', '{{\"k\": {id}}}', '{{a,b{id}}}', '1380000000{}', {});\n",
            id % 7,
            id * 100,
            ["new", "won", "lost"][(id % 3) as usize],
            id,
            id % 4,
            id % 2 == 0,
        );
        text += &format!(
            "INSERT INTO leads VALUES ({id}, 'Lead {id}', '138{id:08}', 'l{id}@mail.example', {}.25, '1980-03-{:02}', 'EU', {});\n",
            id * 777,
            id,
            id * 10
        );
    }
    text
}
