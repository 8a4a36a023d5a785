//! Makes scripts that nobody picked.
use crate::random::Random;
use crate::script::{Group, Message, Script, Wait};
use crate::texts::{
    CURSORS, FAILING, NAMES, OTHERS, PORTALS, PREPARED, PROBES, QUERIES, QUERIES_THAT_SET, SETTERS,
    TRANSACTIONS, TWO_WAYS,
};

type Text = &'static [u8];

struct Generator {
    random: Random,
    /// What this script draws on: few of each kind.
    setters: Vec<Text>,
    setting_queries: Vec<Text>,
    probes: Vec<Text>,
    queries: Vec<Text>,
    two_ways: bool,
    copies: bool,
    /// How likely a batch ends with a Sync, in percent.
    syncs: usize,
    /// How likely a message is sent in a group of its own.
    waits: usize,
}

pub fn generate(seed: u64) -> Script {
    let mut random = Random::new(seed);
    let few = |random: &mut Random, of: &[Text], count: usize| -> Vec<Text> {
        (0..count).map(|_| *random.pick(of)).collect()
    };
    let mut generator = Generator {
        setters: few(&mut random, SETTERS, 3),
        setting_queries: few(&mut random, QUERIES_THAT_SET, 1),
        probes: few(&mut random, PROBES, 2),
        queries: few(&mut random, QUERIES, 3),
        two_ways: random.percent(20),
        copies: random.percent(15),
        syncs: *random.pick(&[90, 60, 60, 30]),
        waits: *random.pick(&[70, 40, 20]),
        random,
    };
    if generator.two_ways {
        // Then it is about encodings.
        let about = |texts: &[Text]| -> Vec<Text> {
            let is_it = |text: &Text| {
                let text = String::from_utf8_lossy(text);
                text.contains("client_encoding") || text.contains("NAMES")
            };
            texts.iter().copied().filter(is_it).collect()
        };
        generator.setters[0] = *generator.random.pick(&about(SETTERS));
        generator.setting_queries[0] = *generator.random.pick(&about(QUERIES_THAT_SET));
    }
    generator.script()
}

impl Generator {
    fn script(&mut self) -> Script {
        let mut groups: Vec<Group> = (0..self.random.between(2, 7))
            .map(|_| self.group())
            .collect();
        let texts: Vec<Vec<u8>> = groups
            .iter()
            .flat_map(|group| &group.messages)
            .flat_map(|message| message.texts().to_vec())
            .collect();
        groups.extend(probes(&texts));
        Script { groups }
    }

    fn group(&mut self) -> Group {
        let mut messages = Vec::new();
        for _ in 0..self.random.between(1, 5) {
            self.phrase(&mut messages);
        }
        let wait = match self.random.below(100) {
            0 => {
                messages.push(query(b"SELECT pg_sleep(20)"));
                if self.random.percent(50) {
                    self.phrase(&mut messages);
                }
                Wait::Cancel
            }
            roll if roll < self.waits => Wait::All,
            roll if roll < self.waits + 15 && !self.copies => Wait::Answers,
            _ => Wait::No,
        };
        Group { messages, wait }
    }

    fn phrase(&mut self, into: &mut Vec<Message>) {
        match self.random.below(100) {
            0..30 => {
                let text = self.text();
                self.carry(text, into);
            }
            39..42 => self.skipped(into),
            30..39 => {
                let mut texts: Vec<Vec<u8>> = (0..self.random.between(2, 3))
                    .map(|_| self.text())
                    .collect();
                if self.random.percent(25) {
                    let at = self.random.below(texts.len() + 1);
                    texts.insert(at, self.random.pick(FAILING).to_vec());
                }
                into.push(Message::Query(texts));
            }
            42..50 => {
                let text = self.random.pick(TRANSACTIONS).to_vec();
                self.carry(text, into);
            }
            50..58 => {
                let name = *self.random.pick(PREPARED);
                // EXECUTE takes queries alone.
                let text = match name {
                    "t" => self.query(),
                    _ => self.text(),
                };
                let name = match text.starts_with(b"EXECUTE") {
                    true => "",
                    false => name,
                };
                into.push(Message::Parse { name, text });
                self.ends(into);
            }
            58..72 => {
                self.bind_and_execute(into);
                self.ends(into);
            }
            72..76 => {
                let (kind, names) = match self.random.percent(70) {
                    true => (b'S', PREPARED),
                    false => (b'P', PORTALS),
                };
                let name = *self.random.pick(names);
                into.push(Message::Close(kind, name));
                self.ends(into);
            }
            76..82 => {
                // Not the unnamed portal: that of a Query that has failed in a transaction is still there, and PostgreSQL 15
                // crashes over its statements, which are not (`exec_execute_message`, tcop/postgres.c).
                let (portal, rows) = (*self.random.pick(CURSORS), self.rows());
                into.push(Message::Execute { portal, rows });
                self.ends(into);
            }
            82..88 => {
                let text = self.random.pick(FAILING).to_vec();
                self.carry(text, into);
            }
            88..91 => into.push(match self.random.percent(80) {
                true => Message::Sync,
                false => Message::Flush,
            }),
            91..92 => into.push(Message::Query(vec![
                b"SET statement_timeout = '30ms'".to_vec(),
                b"SELECT pg_sleep(20)".to_vec(),
            ])),
            92..96 if self.copies => self.copy(into),
            _ => {
                let text = self.by_name();
                self.carry(text, into);
            }
        }
    }

    /// A statement in a Query, or as a batch.
    fn carry(&mut self, text: Vec<u8>, into: &mut Vec<Message>) {
        if self.random.percent(60) {
            into.push(Message::Query(vec![text]));
            return;
        }
        let name = *self.random.pick(&["", "", "", "s"]);
        // What runs itself has the server recur until its stack is full.
        let name = match text.starts_with(b"EXECUTE s") {
            true => "",
            false => name,
        };
        let portal = *self.random.pick(PORTALS);
        let parameters = match text.windows(2).any(|bytes| bytes == b"$1") {
            true => vec!["1"],
            false => Vec::new(),
        };
        // What was made by that name before is in the way.
        if !name.is_empty() && self.random.percent(40) {
            into.push(Message::Close(b'S', name));
        }
        if !portal.is_empty() && self.random.percent(40) {
            into.push(Message::Close(b'P', portal));
        }
        into.push(Message::Parse { name, text });
        if self.random.percent(20) {
            into.push(Message::Describe(b'S', name));
        }
        into.push(Message::Bind {
            portal,
            statement: name,
            parameters,
            binary: self.random.percent(10),
        });
        self.described_and_executed(portal, into);
        self.ends(into);
    }

    /// Messages that the server skips, because one before them has failed, and what names what they name.
    fn skipped(&mut self, into: &mut Vec<Message>) {
        let text = self.random.pick(FAILING).to_vec();
        into.push(Message::Parse { name: "", text });
        into.push(Message::Bind {
            portal: "",
            statement: "",
            parameters: Vec::new(),
            binary: false,
        });
        into.push(Message::Execute {
            portal: "",
            rows: 0,
        });
        for _ in 0..self.random.between(1, 2) {
            let name = *self.random.pick(PREPARED);
            into.push(match self.random.percent(60) {
                true => Message::Close(b'S', name),
                false => {
                    let text = self.query();
                    Message::Parse { name, text }
                }
            });
        }
        into.push(Message::Sync);
        self.bind_and_execute(into);
        self.ends(into);
    }

    /// What was prepared before, if it was.
    fn bind_and_execute(&mut self, into: &mut Vec<Message>) {
        let statement = *self.random.pick(PREPARED);
        let portal = *self.random.pick(PORTALS);
        if !portal.is_empty() && self.random.percent(40) {
            into.push(Message::Close(b'P', portal));
        }
        into.push(Message::Bind {
            portal,
            statement,
            parameters: match self.random.percent(8) {
                true => vec!["1"],
                false => Vec::new(),
            },
            binary: self.random.percent(10),
        });
        self.described_and_executed(portal, into);
    }

    fn described_and_executed(&mut self, portal: &'static str, into: &mut Vec<Message>) {
        if self.random.percent(40) {
            into.push(Message::Describe(b'P', portal));
        }
        for _ in 0..*self.random.pick(&[1, 1, 1, 2]) {
            let rows = self.rows();
            into.push(Message::Execute { portal, rows });
        }
    }

    fn rows(&mut self) -> u32 {
        *self.random.pick(&[0, 0, 1, 2])
    }

    fn ends(&mut self, into: &mut Vec<Message>) {
        if self.random.percent(self.syncs) {
            into.push(Message::Sync);
        }
    }

    /// A query that can be prepared or opened.
    fn query(&mut self) -> Vec<u8> {
        let text = match self.random.below(100) {
            0..25 => self.random.pick(&self.setting_queries.clone()),
            25..55 => self.random.pick(&self.probes.clone()),
            55..60 if self.two_ways => *self.random.pick(TWO_WAYS),
            _ => self.random.pick(&self.queries.clone()),
        };
        text.to_vec()
    }

    fn text(&mut self) -> Vec<u8> {
        match self.random.below(100) {
            0..25 => self.random.pick(&self.setters.clone()).to_vec(),
            25..40 if self.two_ways => self.random.pick(TWO_WAYS).to_vec(),
            25..65 => self.query(),
            65..72 => self.random.pick(OTHERS).to_vec(),
            _ => self.by_name(),
        }
    }

    /// Statements that make, run and drop what has a name.
    fn by_name(&mut self) -> Vec<u8> {
        let name = *self.random.pick(NAMES);
        let cursor = *self.random.pick(CURSORS);
        let query = self.query();
        // What returns no rows, or changes some, is opened by nobody.
        let is_opened = query.starts_with(b"SELECT") && !query.windows(2).any(|two| two == b"$1");
        let opened = if is_opened {
            query.clone()
        } else {
            b"SELECT 3".to_vec()
        };
        let (before, after) = match self.random.below(100) {
            0..18 => (format!("PREPARE {name} AS "), query),
            18..42 => (format!("EXECUTE {name}"), Vec::new()),
            42..46 => (format!("DEALLOCATE {name}"), Vec::new()),
            46..48 => ("DEALLOCATE ALL".into(), Vec::new()),
            48..50 => (format!("EXPLAIN (COSTS OFF) EXECUTE {name}"), Vec::new()),
            50..52 => (
                format!("CREATE TEMP TABLE kept AS EXECUTE {name}"),
                Vec::new(),
            ),
            52..64 => (format!("DECLARE {cursor} CURSOR FOR "), opened),
            64..69 => (format!("DECLARE {cursor} CURSOR WITH HOLD FOR "), opened),
            69..82 => (format!("FETCH ALL FROM {cursor}"), Vec::new()),
            82..88 => (format!("FETCH 1 FROM {cursor}"), Vec::new()),
            88..91 => (format!("MOVE 1 FROM {cursor}"), Vec::new()),
            91..94 => (format!("CLOSE {cursor}"), Vec::new()),
            94..95 => ("CLOSE ALL".into(), Vec::new()),
            _ => (format!("BEGIN; DECLARE {cursor} CURSOR FOR "), opened),
        };
        [before.into_bytes(), after].concat()
    }

    fn copy(&mut self, into: &mut Vec<Message>) {
        let copy = b"COPY notes FROM STDIN".to_vec();
        match self.random.below(3) {
            0 => into.push(Message::Query(vec![self.text(), copy])),
            1 => into.push(Message::Query(vec![copy])),
            _ => into.extend([
                Message::Parse {
                    name: "",
                    text: copy,
                },
                Message::Bind {
                    portal: "",
                    statement: "",
                    parameters: Vec::new(),
                    binary: false,
                },
                Message::Execute {
                    portal: "",
                    rows: 0,
                },
            ]),
        }
        for _ in 0..self.random.below(3) {
            let data = *self
                .random
                .pick(&["21\tx\n", "22\ty\n23\tz\n", "nonsense\n"]);
            into.push(Message::CopyData(data));
        }
        match self.random.below(10) {
            0..6 => into.push(Message::CopyDone),
            6..9 => into.push(Message::CopyFail),
            _ => {}
        }
        self.ends(into);
    }
}

fn query(text: &[u8]) -> Message {
    Message::Query(vec![text.to_vec()])
}

/// What the session believes after all that, as far as it can be seen: at once and in whatever state it is, then each for
/// itself behind a ROLLBACK.
fn probes(said: &[Vec<u8>]) -> Vec<Group> {
    let has = |word: &str| {
        let mut texts = said.iter();
        texts.any(|text| String::from_utf8_lossy(text).contains(word))
    };
    let run = |statement| {
        vec![
            Message::Bind {
                portal: "",
                statement,
                parameters: Vec::new(),
                binary: false,
            },
            Message::Execute {
                portal: "",
                rows: 0,
            },
            Message::Sync,
        ]
    };
    let mut messages = vec![
        vec![query(b"SHOW search_path")],
        vec![query(PROBES[0])],
        vec![query(PROBES[2])],
        vec![query(PROBES[7])],
    ];
    if has("text (a int)") {
        messages.push(vec![query(PROBES[10])]);
    }
    if has("pg_stats") {
        messages.push(vec![query(PROBES[9])]);
    }
    if has("client_encoding") || has("NAMES") {
        messages.extend(TWO_WAYS.iter().map(|text| vec![query(text)]));
    }
    for (name, execute, bound) in [("s", "EXECUTE s", "s"), ("t", "EXECUTE t", "t")] {
        messages.push(match name.len() + said.len() {
            odd if odd % 2 == 1 => vec![query(execute.as_bytes())],
            _ => run(bound),
        });
    }
    messages.push(vec![query(b"FETCH 1 FROM c")]);
    let at_once = Group {
        messages: messages.concat(),
        wait: Wait::All,
    };
    let back = Group {
        messages: vec![query(b"ROLLBACK")],
        wait: Wait::All,
    };
    let each = messages.into_iter().map(|messages| Group {
        messages,
        wait: Wait::All,
    });
    [at_once, back].into_iter().chain(each).collect()
}
