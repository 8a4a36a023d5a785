//! Node trees as the server prints them (`src/backend/nodes/outfuncs.c`), read as `src/backend/nodes/read.c` does.

/// A node: its kind and its fields in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub kind: String,
    pub fields: Vec<(String, Value)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Node(Node),
    /// Of nodes, names or numbers; those of numbers begin with the word `i`, `o`, `b` or `x`.
    List(Vec<Value>),
    Word(String),
    /// `<>`
    Null,
}

static NULL: Value = Value::Null;

impl Node {
    pub fn get(&self, field: &str) -> &Value {
        let found = self.fields.iter().find(|(name, _)| name == field);
        found.map_or(&NULL, |(_, value)| value)
    }

    pub fn child(&self, field: &str) -> Option<&Node> {
        self.get(field).node()
    }

    pub fn list(&self, field: &str) -> &[Value] {
        self.get(field).items()
    }

    pub fn nodes(&self, field: &str) -> impl Iterator<Item = &Node> {
        self.list(field).iter().filter_map(Value::node)
    }

    pub fn word(&self, field: &str) -> &str {
        self.get(field).word()
    }

    /// A number; 0 where the field is not there.
    pub fn int(&self, field: &str) -> i64 {
        self.word(field).parse().unwrap_or(0)
    }

    pub fn flag(&self, field: &str) -> bool {
        self.word(field) == "true"
    }

    pub fn is_range_table_entry(&self) -> bool {
        self.kind == "RANGETBLENTRY"
    }
}

impl Value {
    pub fn node(&self) -> Option<&Node> {
        match self {
            Value::Node(node) => Some(node),
            _ => None,
        }
    }

    pub fn items(&self) -> &[Value] {
        match self {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub fn word(&self) -> &str {
        match self {
            Value::Word(word) => word,
            _ => "",
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The numbers of `(b 8 9)`, `(i 1)` or `(o 25)`.
    pub fn numbers(&self) -> Vec<i64> {
        let numbers = self.items().iter().skip(1);
        numbers
            .filter_map(|item| item.word().parse().ok())
            .collect()
    }

    /// Calls back for the value's node and all nodes in it, from the outside in.
    pub fn each(&self, call: &mut impl FnMut(&Node)) {
        match self {
            Value::Node(node) => {
                call(node);
                node.fields.iter().for_each(|(_, value)| value.each(call));
            }
            Value::List(items) => items.iter().for_each(|item| item.each(call)),
            Value::Word(_) | Value::Null => {}
        }
    }
}

/// # Errors
/// What was read where something else was expected.
pub fn read(text: &str) -> Result<Value, String> {
    let mut reader = Reader {
        words: words(text),
        at: 0,
    };
    let value = reader.value()?;
    match reader.words.get(reader.at) {
        None => Ok(value),
        Some(rest) => Err(format!("{rest:?} behind the tree")),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Mark(char),
    Plain(String),
    /// `<>`: nothing there, which no escaped word looks like.
    Null,
}

/// As `pg_strtok`: white space divides, brackets stand for themselves, a backslash takes the next character as it is.
fn words(text: &str) -> Vec<Word> {
    let mut found = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\n' | '\t' => {}
            '(' | ')' | '{' | '}' => found.push(Word::Mark(letter)),
            _ => {
                let (mut word, mut escaped) = (String::new(), false);
                let mut next = Some(letter);
                while let Some(letter) = next {
                    if letter == '\\' {
                        // Lines are broken at blanks, escaped ones too (`format_node_dump` in `print.c`).
                        let kept = letters.next().unwrap_or('\\');
                        word.push(if kept == '\n' { ' ' } else { kept });
                        escaped = true;
                    } else {
                        word.push(letter);
                    }
                    next = letters.next_if(|letter| !" \n\t(){}".contains(*letter));
                }
                found.push(match word == "<>" && !escaped {
                    true => Word::Null,
                    false => Word::Plain(word),
                });
            }
        }
    }
    found
}

/// Nodes that PostgreSQL 13 prints under other names.
fn present(kind: String) -> String {
    let name = match kind.as_str() {
        "RTE" => "RANGETBLENTRY",
        "CASE" => "CASEEXPR",
        "WHEN" => "CASEWHEN",
        "ROW" => "ROWEXPR",
        "ARRAY" => "ARRAYEXPR",
        "COALESCE" => "COALESCEEXPR",
        "MINMAX" => "MINMAXEXPR",
        _ => return kind,
    };
    name.to_owned()
}

struct Reader {
    words: Vec<Word>,
    at: usize,
}

impl Reader {
    fn next(&mut self) -> Option<Word> {
        let word = self.words.get(self.at).cloned();
        self.at += 1;
        word
    }

    fn peek(&self) -> Option<&Word> {
        self.words.get(self.at)
    }

    fn value(&mut self) -> Result<Value, String> {
        match self.next() {
            Some(Word::Mark('{')) => self.node().map(Value::Node),
            Some(Word::Mark('(')) => self.list().map(Value::List),
            Some(Word::Plain(word)) => Ok(Value::Word(word)),
            Some(Word::Null) => Ok(Value::Null),
            other => Err(format!("{other:?} for a value")),
        }
    }

    fn list(&mut self) -> Result<Vec<Value>, String> {
        let mut items = Vec::new();
        while self.peek() != Some(&Word::Mark(')')) {
            items.push(self.value()?);
        }
        self.at += 1;
        Ok(items)
    }

    fn node(&mut self) -> Result<Node, String> {
        let kind = match self.next() {
            Some(Word::Plain(kind)) => present(kind),
            other => return Err(format!("{other:?} for the kind of a node")),
        };
        let mut fields = Vec::new();
        loop {
            match self.peek() {
                Some(Word::Mark('}')) => {
                    self.at += 1;
                    return Ok(Node { kind, fields });
                }
                Some(Word::Plain(label)) if label.starts_with(':') => {
                    let name = label.trim_start_matches(':').to_owned();
                    self.at += 1;
                    let value = match name.as_str() {
                        "constvalue" => self.datum()?,
                        _ => self.value()?,
                    };
                    fields.push((name, value));
                }
                // `{A_CONST NULL}`
                _ => {
                    let value = self.value()?;
                    fields.push((String::new(), value));
                }
            }
        }
    }

    /// `5 [ 20 0 0 0 120 ]`, or nothing (`_outDatum`).
    fn datum(&mut self) -> Result<Value, String> {
        if self.peek() == Some(&Word::Null) {
            return self.value();
        }
        let mut bytes = String::new();
        loop {
            match self.next() {
                Some(Word::Plain(word)) => {
                    let last = word == "]";
                    bytes += &format!("{word} ");
                    if last {
                        return Ok(Value::Word(bytes));
                    }
                }
                other => return Err(format!("{other:?} within a datum")),
            }
        }
    }
}

#[test]
fn node_trees_are_read_as_the_server_reads_them() {
    let text = "{X :a (b 8\n9) :b <> :c \\<> :d ({Y} {Y :e (\"a\\ b\")}) :f :a\\\n<b\\\\\\(\\} \
                :constvalue 5 [ 20 0 -1 ] :g 1}";
    let value = read(text).expect("a node");
    let node = value.node().expect("a node");
    assert_eq!(node.get("a").numbers(), [8, 9]);
    assert!(node.get("b").is_null());
    assert_eq!(node.word("c"), "<>");
    assert_eq!(node.list("d").len(), 2);
    assert_eq!(node.word("f"), ":a <b\\(}");
    assert_eq!(node.word("constvalue"), "5 [ 20 0 -1 ] ");
    assert_eq!(node.int("g"), 1);
    for broken in ["{X :a", "{X} {Y}", "{X :a )}", "(b 1"] {
        assert!(read(broken).is_err(), "{broken}");
    }
}
