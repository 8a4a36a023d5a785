//! What FROM offers: relations, subqueries, common table expressions and functions, and joins of them.
use super::{Commons, From, Source, common};
use crate::sql::tree::{Node, Tree};

/// What an item of FROM offers, in the order in which what is lateral sees it.
pub(super) fn add<'t>(sources: &mut Vec<Source<'t>>, node: &'t Node, commons: &Commons<'t>) {
    let alias = node.child("alias");
    let names = alias.map_or(Vec::new(), |alias| {
        let names = alias.list("colnames").iter();
        names.filter_map(Tree::string).collect()
    });
    let alias = alias.map_or("", |alias| alias.text("aliasname"));
    let (own_name, from) = match node.kind {
        "RangeVar" => {
            let name = node.text("relname");
            let known = common(commons, |known, _| known == name);
            match known.filter(|_| node.text("schemaname").is_empty()) {
                Some((query, place)) => (name, From::Common(query, place, node)),
                None => (name, From::Relation(node)),
            }
        }
        "RangeSubselect" => match node.child("subquery") {
            Some(query) => ("", From::Query(query, node.flag("lateral"))),
            None => return,
        },
        "RangeTableSample" => {
            if let Some(relation) = node.child("relation") {
                add(sources, relation, commons);
            }
            return;
        }
        "JoinExpr" => return join(sources, node, commons),
        _ => ("", From::Function(node)),
    };
    sources.push(Source {
        alias: if alias.is_empty() { own_name } else { alias },
        names,
        from,
        qualified: false,
    });
}

/// The alias of a join hides those of its sides; that of its USING stands beside them.
fn join<'t>(sources: &mut Vec<Source<'t>>, node: &'t Node, commons: &Commons<'t>) {
    let first = sources.len();
    for side in ["larg", "rarg"].iter().filter_map(|side| node.child(side)) {
        add(sources, side, commons);
    }
    for (field, qualified) in [("alias", false), ("join_using_alias", true)] {
        let Some(alias) = node.child(field) else {
            continue;
        };
        // Subqueries of the sides are asked for by their place.
        sources
            .iter_mut()
            .skip(first)
            .filter(|_| !qualified)
            .for_each(|side| {
                side.alias = "";
                side.qualified = true;
            });
        sources.push(Source {
            alias: alias.text("aliasname"),
            names: Vec::new(),
            from: From::Unknown,
            qualified,
        });
    }
}

/// Functions in FROM that give one column.
pub(super) fn is_scalar(from: &Node) -> bool {
    fn calls<'t>(tree: &'t Tree, found: &mut Vec<&'t Node>) {
        match tree {
            Tree::List(items) => items.iter().for_each(|item| calls(item, found)),
            Tree::Node(node) if node.kind == "FuncCall" => found.push(node),
            Tree::Node(node) if node.kind == "List" => {
                calls(node.get("items").unwrap_or(&Tree::Nothing), found)
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    calls(from.get("functions").unwrap_or(&Tree::Nothing), &mut found);
    match found.as_slice() {
        [call] => {
            let name = call.list("funcname").last().and_then(Tree::string);
            match name {
                Some("generate_series") => true,
                Some("unnest") => call.list("args").len() == 1,
                _ => false,
            }
        }
        _ => false,
    }
}
