//! Expressions: the columns whose values take part in one.
use crate::sql::tree::{Node, Tree};

use super::Reading;
use super::cells::{Cells, Use};

const EXISTS: i64 = 1;

impl<'a> Reading<'a> {
    /// Adds the columns whose values may come out of an expression.
    pub fn flow(&mut self, tree: &'a Tree, cells: &mut Cells) {
        match tree {
            Tree::List(items) => items.iter().for_each(|item| self.flow(item, cells)),
            Tree::Node(node) => self.flow_of(node, cells),
            _ => {}
        }
    }

    /// The same for all parts of a node.
    pub fn children(&mut self, node: &'a Node, cells: &mut Cells) {
        for (_, value) in &node.fields {
            self.flow(value, cells);
        }
    }

    /// Marks what takes part in an expression as filtered.
    pub fn filter(&mut self, tree: &'a Tree) {
        let mut cells = Cells::new();
        self.flow(tree, &mut cells);
        self.found.mark(&cells, Use::Filtered);
    }

    fn flow_of(&mut self, node: &'a Node, cells: &mut Cells) {
        if self.found.exhausted() {
            return;
        }
        match node.kind {
            "ColumnRef" => self.reference(node, cells),
            "AConst" | "ParamRef" => {}
            // What is in its brackets looks like columns: `geometry(Point)`.
            "TypeName" => {}
            "FuncCall" => self.call(node, cells),
            "SubLink" => self.sublink(node, cells),
            "AIndirection" if self.field(node, cells) => {
                for subscript in node.list("indirection") {
                    self.filter(subscript);
                }
            }
            // A query in a place where no rule knows one.
            "SelectStmt" => {
                let outputs = self.outputs(node);
                cells.extend(outputs.all());
            }
            _ => self.children(node, cells),
        }
    }

    fn call(&mut self, node: &'a Node, cells: &mut Cells) {
        for argument in node.list("args") {
            self.flow(argument, cells);
        }
        // `percentile_cont(0.5) WITHIN GROUP (ORDER BY salary)`: what is sorted is what comes out.
        for key in node.list("agg_order") {
            match node.flag("agg_within_group") {
                true => self.flow(key, cells),
                false => self.filter(key),
            }
        }
        if let Some(condition) = node.get("agg_filter") {
            self.filter(condition);
        }
        if let Some(window) = node.get("over") {
            self.filter(window);
        }
    }

    fn sublink(&mut self, node: &'a Node, cells: &mut Cells) {
        if let Some(tested) = node.get("testexpr") {
            self.flow(tested, cells);
        }
        if let Some(query) = node.child("subselect") {
            let outputs = self.outputs(query);
            if node.int("sub_link_type") != EXISTS {
                cells.extend(outputs.all());
            }
        }
    }
}
