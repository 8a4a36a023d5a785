//! Trees as text to be compared: without positions in the text and without what an entry is called.
use std::borrow::Cow;

use crate::node::{Node, Value};
use crate::scope::{Level, Place, Scope, place};

/// What says nothing about what a statement does, or says it a second time.
const LEFT_OUT: &[&str] = &[
    // Where it stood in the text.
    "location",
    "stmt_location",
    "stmt_len",
    "list_start",
    "list_end",
    "rexpr_list_start",
    "rexpr_list_end",
    "varnosyn",
    "varattnosyn",
    // What things are called in the text.
    "alias",
    "eref",
    "aliascolnames",
    "ctecolnames",
    "join_using_alias",
    "returningOldAlias",
    "returningNewAlias",
    // For whom it is checked.
    "requiredPerms",
    "checkAsUser",
    "selectedCols",
    "insertedCols",
    "updatedCols",
    "extraUpdatedCols",
    "perminfoindex",
    "rteperminfos",
    "rellockmode",
    "securityQuals",
    "inFromCl",
    // Follows from the rest.
    "querySource",
    "canSetTag",
    "hasAggs",
    "hasWindowFuncs",
    "hasTargetSRFs",
    "hasSubLinks",
    "hasDistinctOn",
    "hasRecursive",
    "hasModifyingCTE",
    "hasForUpdate",
    "hasRowSecurity",
    "hasGroupRTE",
    "resorigtbl",
    "resorigcol",
    "constraintDeps",
    "varnullingrels",
    // How a row is compared, not by what: rows of masks are of type record.
    "hashable",
    // Found by their numbers, through the columns of the sides.
    "joinaliasvars",
    "joinleftcols",
    "joinrightcols",
];

/// How column references are written, and what is written in another way.
pub trait Style<'t> {
    fn column(&self, var: &'t Node, form: &mut Form<'t, '_, Self>)
    where
        Self: Sized;

    /// Writes the node in its own way; false: it is written as it is.
    fn node(&self, _node: &'t Node, _form: &mut Form<'t, '_, Self>) -> bool
    where
        Self: Sized,
    {
        false
    }

    fn word<'w>(&self, word: &'w str) -> Cow<'w, str> {
        Cow::Borrowed(word)
    }
}

pub struct Form<'t, 's, S> {
    pub scope: Scope<'t>,
    /// The next query that is met is called so.
    pub next: usize,
    pub text: String,
    style: &'s S,
}

impl<'t, 's, S: Style<'t>> Form<'t, 's, S> {
    pub fn new(style: &'s S, scope: &[Level<'t>]) -> Self {
        Form {
            scope: scope.to_vec(),
            next: scope.last().map_or(0, |level| level.name.saturating_add(1)),
            text: String::new(),
            style,
        }
    }

    pub fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub fn value(&mut self, value: &'t Value) {
        match value {
            Value::Null => self.push("<>"),
            Value::Word(word) => {
                let word = self.style.word(word);
                self.text.push_str(&word);
            }
            Value::List(items) => {
                self.push("(");
                for item in items {
                    self.value(item);
                    self.push(" ");
                }
                self.push(")");
            }
            Value::Node(node) => self.node(node),
        }
    }

    pub fn node(&mut self, node: &'t Node) {
        let style = self.style;
        match node.kind.as_str() {
            "VAR" => style.column(node, self),
            _ if style.node(node, self) => {}
            "QUERY" => {
                self.enter(node, true);
                self.fields(node);
                self.leave(true);
            }
            _ => self.fields(node),
        }
    }

    /// A query begins; not `counted`: the other tree has none there.
    pub fn enter(&mut self, query: &'t Node, counted: bool) {
        let name = if counted { self.next } else { usize::MAX };
        self.scope.push(Level { query, name });
        self.next = self.next.saturating_add(usize::from(counted));
    }

    pub fn leave(&mut self, counted: bool) {
        self.scope.pop();
        self.next = self.next.saturating_sub(usize::from(counted));
    }

    pub fn fields(&mut self, node: &'t Node) {
        self.push("{");
        self.push(&node.kind);
        for (name, value) in &node.fields {
            if LEFT_OUT.contains(&name.as_str()) {
                continue;
            }
            self.push(" ");
            self.push(name);
            self.push(" ");
            match name.as_str() {
                "ctename" => self.push(&expression(node, value.word(), &self.scope)),
                _ => self.value(value),
            }
        }
        self.push("}");
    }
}

/// A common table expression by its place among those of its query, in the place of its name.
fn expression(node: &Node, name: &str, scope: &[Level<'_>]) -> String {
    let up = usize::try_from(node.int("ctelevelsup")).unwrap_or(usize::MAX);
    let level = scope
        .len()
        .checked_sub(up.saturating_add(1))
        .and_then(|at| scope.get(at));
    let place = level.and_then(|level| {
        let mut known = level.query.nodes("cteList");
        known.position(|known| known.word("ctename") == name)
    });
    place.map_or_else(|| name.to_owned(), |place| format!("cte{place}"))
}

/// How an expression over one row looks, whatever the row is called and wherever the expression stands.
pub struct Over {
    /// How many queries stand around the expression.
    pub around: usize,
    /// The row; columns of others keep their place.
    pub row: Option<Place>,
}

impl<'t> Style<'t> for Over {
    fn column(&self, var: &'t Node, form: &mut Form<'t, '_, Self>) {
        let place = place(var, &form.scope);
        let column = var.int("varattno");
        if place.is_some() && place == self.row {
            return form.push(&format!("${column}"));
        }
        let (level, entry) = place.map_or((0, 0), |place| (place.level, place.entry));
        let text = match level.checked_sub(self.around) {
            Some(within) => format!("[{within} {entry} {column}]"),
            None => format!("[around {level} {entry} {column}]"),
        };
        form.push(&text);
    }
}

/// The node as an expression over the row at that place.
pub fn over<'t>(node: &'t Node, scope: &[Level<'t>], row: Option<Place>) -> String {
    let style = Over {
        around: scope.len(),
        row,
    };
    let mut form = Form::new(&style, scope);
    form.node(node);
    form.text
}
