//! Values for labelled schemas: the same on every run, and none of them anybody's. Names of people are the tests' own list, about half
//! of which the scanner's lists do not have.

/// Splitmix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: &str, row: u64) -> Chance {
        // FNV-1a over the name of the place.
        let hash = seed.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Chance(hash ^ row.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.between(0, list.len() as u64 - 1) as usize]
    }

    fn word<'a>(&mut self, words: &'a str) -> &'a str {
        self.pick(&words.split(' ').collect::<Vec<_>>())
    }

    fn digits(&mut self, count: usize) -> String {
        self.of("0123456789", count)
    }

    fn of(&mut self, letters: &str, count: usize) -> String {
        let letters: Vec<char> = letters.chars().collect();
        (0..count)
            .map(|_| letters[self.between(0, letters.len() as u64 - 1) as usize])
            .collect()
    }
}

const GIVEN: &str = "Anna Oluwaseun Siobhan Lukas Aino Thandiwe Mateusz Chiara Bartholomew Yuki Ines Dagny Rasmus Odalys Kwame Sophie \
    Jonas Elif Margaux Tadhg Zofia Emeka Ricarda Leandro Ottilie Pia Halina Caspar Wendell Noor Hugo Ludmila";
const FAMILY: &str = "Okafor Räsänen O'Shaughnessy Müller Kowalczyk Lindqvist Dubois Achterberg Ferrante Quintanilla Novotny Haugland Schmidt \
    Papadakis Delacroix Whitcombe Iversen Bielinski Tanaka Garcia Brandstätter Vandenberghe Moretti Nwosu Jansen Karlsson Petrova Obermeier Yildirim Fontaine";
const FAMILY_CN: &str = "王 李 张 刘 陈 杨 黄 赵 周 吴 徐 孙 欧阳 司马 郝 覃 庞 佟 冼 晏 戚 沙";
const GIVEN_CN: &str = "伟 芳 秀英 建国 子涵 雨桐 欣怡 浩然 俊 敏 晓东 静怡 一诺 海燕 志远 桂花";
const CITIES: &str =
    "Berlin Lyon Leeds Kraków Porto Malmö Graz Austin Florence Sevilla Tampere Ghent";
const STREETS_DE: &str = "Goethestraße Lindenweg Marktplatz Bahnhofstr. Kirchgasse Kastanienallee Uferdamm Schillerstraße Rosenweg Gartenstraße";
const STREETS_EN: &str = "Maple Oak High Church Mill Station Victoria Park King Queen";
const WORDS: &str = "please check the delivery again because it was late and we need another box of paper before monday thanks for your help \
    with this matter our team will look into it as soon as possible the colour is fine but size differs";
const DRUGS: &str = "metformin ibuprofen amlodipine insulin rivaroxaban pantoprazole torasemide sertraline amoxicillin bisoprolol";
const DIAGNOSES: [&str; 8] = [
    "Type 2 diabetes, well controlled",
    "Suspected appendicitis, surgery planned",
    "Chronic sinusitis",
    "Fracture of the left radius",
    "Hypertension stage 1, medication adjusted",
    "Follow-up after stroke",
    "Routine check without findings",
    "Migraine with aura",
];

/// The value of a column in a row, `None` for NULL. A specification is `name`, `name:arguments`, with `?20` behind it 20 % NULL.
pub fn value(spec: &str, place: &str, row: u64) -> Option<String> {
    let chance = &mut Chance::new(place, row);
    let (spec, nulls) = match spec.rsplit_once('?') {
        Some((spec, nulls)) if !spec.starts_with("json:") => {
            (spec, nulls.parse().expect("percent"))
        }
        _ => (spec, 0),
    };
    (chance.between(0, 99) >= nulls).then(|| made(spec, chance, row))
}

fn made(spec: &str, chance: &mut Chance, row: u64) -> String {
    let (name, arguments) = spec.split_once(':').unwrap_or((spec, ""));
    match name {
        "id" => row.to_string(),
        "bool" => chance.word("true false").to_owned(),
        "int" => {
            let (low, high) = arguments.split_once('-').expect("a range");
            chance
                .between(low.parse().expect("low"), high.parse().expect("high"))
                .to_string()
        }
        "dec" => {
            let (range, _) = arguments.split_once(':').expect("digits");
            format!(
                "{}.{:02}",
                made(&format!("int:{range}"), chance, row),
                chance.between(0, 99)
            )
        }
        "digits" => chance.digits(arguments.parse().expect("count")),
        "hex" => chance.of("0123456789abcdef", arguments.parse().expect("count")),
        "mixed" => chance.of(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
            arguments.parse().expect("count"),
        ),
        "words" => {
            let words: Vec<&str> = arguments.split('|').collect();
            chance.pick(&words).to_owned()
        }
        "array" => {
            let parts: Vec<String> = arguments
                .split('|')
                .map(|part| match part.strip_prefix('@') {
                    Some(spec) => made(spec, chance, row),
                    None => part.to_owned(),
                })
                .collect();
            format!("{{{}}}", parts.join(","))
        }
        "json" => json(arguments, chance, row),
        "prefixed" => {
            let (prefix, count) = arguments.split_once(':').expect("prefix:count");
            format!("{prefix}{}", chance.digits(count.parse().expect("count")))
        }
        _ => person(name, chance, row)
            .or_else(|| number(name, chance, row))
            .or_else(|| thing(name, chance, row))
            .or_else(|| prose(name, arguments, chance, row))
            .unwrap_or_else(|| panic!("no values of the kind `{spec}`")),
    }
}

/// `@name` in the template, up to the next quote, becomes a value.
fn json(template: &str, chance: &mut Chance, row: u64) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('@') {
        let (spec, behind) = after.split_once('"').expect("a quote behind the name");
        out.push_str(before);
        out.push_str(&made(spec, chance, row));
        out.push('"');
        rest = behind;
    }
    out + rest
}

fn person(name: &str, chance: &mut Chance, row: u64) -> Option<String> {
    let ascii = |text: &str| -> String {
        text.to_lowercase()
            .chars()
            .filter(char::is_ascii_alphabetic)
            .collect()
    };
    Some(match name {
        "given" => chance.word(GIVEN).to_owned(),
        "family" => chance.word(FAMILY).to_owned(),
        "full_latin" => format!("{} {}", chance.word(GIVEN), chance.word(FAMILY)),
        "full_cn" => format!("{}{}", chance.word(FAMILY_CN), chance.word(GIVEN_CN)),
        "login" => format!("{}{}", ascii(chance.word(GIVEN)), chance.between(1, 99)),
        "email" => format!(
            "{}.{}{row}@{}.example.{}",
            ascii(chance.word(GIVEN)),
            ascii(chance.word(FAMILY)),
            chance.word("mail firma web"),
            chance.word("com de cn fr")
        ),
        "cn_mobile" => format!(
            "1{}{}",
            chance.word("38 39 50 86 77 35 91"),
            chance.digits(8)
        ),
        "cn_landline" => format!(
            "0{}-{}{}",
            chance.word("10 21 755 28"),
            chance.between(2, 8),
            chance.digits(7)
        ),
        "us_phone" => format!(
            "({}) {}{}-{}",
            chance.word("415 212 312 617 206"),
            chance.between(2, 9),
            chance.of("0234567", 2),
            chance.digits(4)
        ),
        "de_phone" => match chance.between(0, 1) {
            0 => format!("015{} {}", chance.word("1 2 7"), chance.digits(8)),
            _ => format!(
                "0{}/{}",
                chance.word("30 40 89 221"),
                chance.between(2_000_000, 9_999_999)
            )
            .replace('/', " "),
        },
        "intl_phone" => match chance.between(0, 2) {
            0 => format!("+49 15{} {}", chance.word("1 2 7"), chance.digits(8)),
            1 => format!(
                "+33 6 {} {} {} {}",
                chance.between(10, 99),
                chance.between(10, 99),
                chance.between(10, 99),
                chance.between(10, 99)
            ),
            _ => format!("+86 1{}{}", chance.word("38 39 50"), chance.digits(8)),
        },
        "name_and_phone" => format!(
            "{} {}, +49 151 {}",
            chance.word(GIVEN),
            chance.word(FAMILY),
            chance.digits(8)
        ),
        "birth" => format!(
            "{}-{:02}-{:02}",
            chance.between(1938, 2006),
            chance.between(1, 12),
            chance.between(1, 28)
        ),
        "birth_dotted" => format!(
            "{:02}.{:02}.{}",
            chance.between(1, 28),
            chance.between(1, 12),
            chance.between(1938, 2006)
        ),
        "street_en" => format!(
            "{} {} {}",
            chance.between(1, 240),
            chance.word(STREETS_EN),
            chance.word("Street Road Lane Ave")
        ),
        "street_de" => format!("{} {}", chance.word(STREETS_DE), chance.between(1, 120)),
        "street_cn" => format!(
            "{}{}{}号{}室",
            chance.word("北京市朝阳区 上海市浦东新区 广东省深圳市南山区 浙江省杭州市西湖区"),
            chance.word("建国路 世纪大道 科技园路 文三路 人民南路"),
            chance.between(1, 300),
            chance.between(101, 2804)
        ),
        "street_name" => chance.word(STREETS_DE).to_owned(),
        "contact" => made(
            chance.pick(&["intl_phone", "de_phone", "email"]),
            chance,
            row,
        ),
        "city" => chance.word(CITIES).to_owned(),
        _ => return None,
    })
}

/// Numbers of people and accounts, with the check digits that make them real, and numbers of things that look alike.
fn number(name: &str, chance: &mut Chance, row: u64) -> Option<String> {
    Some(match name {
        "cn_id" => {
            let body = format!(
                "{}{}{:02}{:02}{}",
                chance.word("110105 310115 440305 330106"),
                chance.between(1955, 2004),
                chance.between(1, 12),
                chance.between(1, 28),
                chance.digits(3)
            );
            let weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
            let sum: usize = values(&body)
                .zip(weights)
                .map(|(digit, weight)| digit * weight)
                .sum();
            format!("{body}{}", "10X98765432".chars().nth(sum % 11)?)
        }
        "de_steuer" => {
            // One of the ten first digits twice, one not at all.
            let mut digits: Vec<usize> = (0..10).collect();
            for place in (1..10).rev() {
                digits.swap(place, chance.between(0, place as u64) as usize);
            }
            digits[9] = digits[chance.between(1, 8) as usize];
            if digits[0] == 0 {
                digits.swap(0, 1);
            }
            let product = digits
                .iter()
                .fold(10, |product, digit| match (digit + product) % 10 {
                    0 => 20 % 11,
                    sum => sum * 2 % 11,
                });
            let body: String = digits.iter().map(ToString::to_string).collect();
            format!("{body}{}", (11 - product) % 10)
        }
        "es_dni" => {
            let number = chance.between(10_000_000, 99_999_999);
            format!(
                "{number}{}",
                "TRWAGMYFPDXBNJZSQVHLCKE"
                    .chars()
                    .nth((number % 23) as usize)?
            )
        }
        "vat" => match chance.between(0, 1) {
            0 => format!("DE{}", chance.between(100_000_000, 999_999_999)),
            _ => format!("ATU{}", chance.digits(8)),
        },
        "card" => luhn(&format!(
            "{}{}",
            chance.word("4539 4716 5412 5234"),
            chance.digits(11)
        )),
        "card_cn" => luhn(&format!("62{}", chance.digits(16))),
        "iban" => {
            let account = chance.digits(18);
            let rest =
                values(&format!("{account}131400")).fold(0, |rest, digit| (rest * 10 + digit) % 97);
            format!("DE{:02}{account}", 98 - rest)
        }
        "order11" => format!("138{:08}", 20_000_000 + row * 13),
        "order20" => format!(
            "2024{:02}{:02}{:012}",
            chance.between(1, 12),
            chance.between(1, 28),
            row * 7 + 100_000
        ),
        "order13x" => format!("17{:09}", 100_000_000 + row * 31),
        "tracking16" => {
            // Never a number with a good check digit.
            let number = format!("4{}", chance.digits(14));
            let good = luhn(&number);
            let last = values(&good).last()?;
            format!("{number}{}", (last + 3) % 10)
        }
        "ean13" => {
            let body = format!("40{}", chance.digits(10));
            let sum: usize = values(&body)
                .enumerate()
                .map(|(place, digit)| digit * [1, 3][place % 2])
                .sum();
            format!("{body}{}", (10 - sum % 10) % 10)
        }
        "epoch_ms" => (1_700_000_000_000 + chance.between(0, 40_000_000_000)).to_string(),
        "lat" => format!(
            "{}.{:06}",
            chance.between(47, 54),
            chance.between(0, 999_999)
        ),
        "lng" => format!(
            "{}.{:06}",
            chance.between(6, 14),
            chance.between(0, 999_999)
        ),
        "zip" => format!("{:05}", chance.between(10_115, 99_998)),
        _ => return None,
    })
}

fn values(text: &str) -> impl Iterator<Item = usize> {
    text.chars()
        .filter_map(|c| c.to_digit(10))
        .map(|digit| digit as usize)
}

fn luhn(body: &str) -> String {
    let sum: usize = values(body)
        .collect::<Vec<_>>()
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match place % 2 {
            0 => digit * 2 / 10 + digit * 2 % 10,
            _ => *digit,
        })
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

fn thing(name: &str, chance: &mut Chance, row: u64) -> Option<String> {
    const ALL: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789./";
    Some(match name {
        "uuid" => {
            let hex = chance.of("0123456789abcdef", 32);
            format!(
                "{}-{}-4{}-a{}-{}",
                &hex[..8],
                &hex[8..12],
                &hex[13..16],
                &hex[17..20],
                &hex[20..]
            )
        }
        "bcrypt" => format!("$2b$12${}", chance.of(ALL, 53)),
        "argon2" => format!(
            "$argon2id$v=19$m=65536,t=3,p=4${}${}",
            chance.of(ALL, 22),
            chance.of(ALL, 43)
        ),
        "django_hash" => format!(
            "pbkdf2_sha256$870000${}${}=",
            chance.of("abcdefghijklmnop0123456789", 22),
            chance.of(ALL, 43)
        ),
        "scrypt" => format!(
            "$scrypt$ln=16,r=8,p=1${}${}",
            chance.of(ALL, 22),
            chance.of(ALL, 43)
        ),
        "net" => format!(
            "{}.{}.{}.0/24",
            chance.between(11, 223),
            chance.between(0, 255),
            chance.between(0, 255)
        ),
        "session_key" => chance.of("abcdefghijklmnopqrstuvwxyz0123456789", 32),
        "session_data" => format!(
            ".eJx{}:1r{}:{}",
            chance.of(ALL, 90),
            chance.of(ALL, 4),
            chance.of(ALL, 43)
        ),
        "code8" => chance.of("ABCDEFGHJKLMNPQRSTUVWXYZ23456789", 8),
        "sku" => format!(
            "{}-{}-{}",
            chance.word("TS BX CB LP"),
            chance.digits(4),
            chance.word("S M L XL")
        ),
        "plate" => format!(
            "{}{}{}",
            chance.word("京 沪 粤 浙"),
            chance.of("ABCDEF", 1),
            chance.of("ABCDEFGH0123456789", 5)
        ),
        "ip" => match chance.between(0, 4) {
            0 => format!("2001:db8::{}", chance.of("123456789abcdef", 4)),
            _ => format!(
                "{}.{}.{}.{}",
                chance.between(11, 223),
                chance.between(0, 255),
                chance.between(0, 255),
                chance.between(1, 254)
            ),
        },
        "version4" => format!(
            "{}.{}.{}.{}",
            chance.between(1, 5),
            chance.between(0, 12),
            chance.between(0, 9),
            chance.between(100, 250)
        ),
        "mac" => {
            let pairs: Vec<String> = (0..6).map(|_| chance.of("0123456789abcdef", 2)).collect();
            pairs.join(":")
        }
        "ua" => format!(
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/{}.0.0.0 Safari/537.36",
            chance.between(100, 140)
        ),
        "url" => format!(
            "https://www.{}{row}.example/path/{}",
            chance.word("shop site app"),
            chance.digits(6)
        ),
        "file" => format!(
            "contracts/2024/{}-{:05}.pdf",
            chance.word("offer contract annex"),
            row
        ),
        "ts" => format!(
            "2025-{:02}-{:02} {:02}:{:02}:{:02}+00",
            chance.between(1, 12),
            chance.between(1, 28),
            chance.between(0, 23),
            chance.between(0, 59),
            chance.between(0, 59)
        ),
        "date" => format!(
            "{}-{:02}-{:02}",
            chance.between(2021, 2026),
            chance.between(1, 12),
            chance.between(1, 28)
        ),
        "company" => format!(
            "{} {} {}",
            chance.word(FAMILY),
            chance.word("Technik Trading Logistics Foods"),
            chance.word("GmbH Ltd Inc SARL")
        ),
        "company_cn" => format!(
            "{}{}有限公司",
            chance.word("北京 上海 深圳"),
            chance.word("华信科技 远大贸易 高新软件 金桥物流")
        ),
        "product" => format!(
            "{} {} {}",
            chance.word("Martin Cotton Steel Oak Florence Classic"),
            chance.word("Guitar T-Shirt Kettle Table Lamp Notebook"),
            chance.word("XL 2000 Pro Black Mini")
        ),
        "product_cn" => format!(
            "{}{}",
            chance.word("无线 高清 黄铜 金属 白色 便携"),
            chance.word("耳机 水壶 手机壳 台灯 键盘 充电器")
        ),
        "icd" => format!(
            "{}{}.{}",
            chance.of("EIJKMS", 1),
            chance.of("0123456789", 2),
            chance.between(0, 9)
        ),
        "drug" => chance.word(DRUGS).to_owned(),
        _ => return None,
    })
}

fn prose(name: &str, arguments: &str, chance: &mut Chance, row: u64) -> Option<String> {
    let sentence = |chance: &mut Chance| {
        let count = chance.between(4, 12);
        let words: Vec<&str> = (0..count).map(|_| chance.word(WORDS)).collect();
        let text = words.join(" ");
        text[..1].to_uppercase() + &text[1..]
    };
    let share = || arguments.parse::<u64>().expect("percent");
    Some(match name {
        "sentence" => sentence(chance),
        "diagnosis_text" => chance.pick(&DIAGNOSES).to_owned(),
        "text_pii" => {
            let text = sentence(chance);
            match chance.between(0, 99) < share() {
                true => format!(
                    "{text}. {} {}",
                    chance.pick(&["Call back at", "Reach me:", "New contact is"]),
                    made(chance.pick(&["intl_phone", "email"]), chance, row)
                ),
                false => format!("{text}. Order {}", 100_000 + row),
            }
        }
        "text_pii_cn" => match chance.between(0, 99) < share() {
            true => format!(
                "员工更换手机,新号{},已更新系统",
                made("cn_mobile", chance, row)
            ),
            false => "试用期已满,表现良好,同意按期转正并调整岗位安排".to_owned(),
        },
        "log_pii" => match chance.between(0, 99) < share() {
            true => format!(
                "login ok user={} from web after retry",
                made("email", chance, row)
            ),
            false => format!(
                "GET /api/v1/orders/{} 200 in {} ms",
                10_000 + row,
                chance.between(2, 900)
            ),
        },
        _ => return None,
    })
}
