//! Bands between layers of nodes, as an SVG drawing: what goes from where to where, and how much.
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

/// Layers: application, role, class, relation.
pub const LAYERS: usize = 4;
/// Index of the layer that gives bands their colour.
const COLOURED: usize = 2;
/// Nodes of each layer that are drawn; what is beyond goes into one more.
const MOST: [usize; LAYERS] = [8, 8, 10, 14];

const WIDTH: f64 = 1120.0;
/// Left edges of the nodes of each layer.
const LEFT: [f64; LAYERS] = [190.0, 420.0, 650.0, 880.0];
const NODE: f64 = 14.0;
/// Height of the fullest layer's bands.
const BANDS: f64 = 420.0;
/// Between the middles of two nodes: two lines of text fit beside each.
const PITCH: f64 = 34.0;
const GAP: f64 = 14.0;
const TOP: f64 = 44.0;
/// The thinnest band that is seen.
const THINNEST: f64 = 1.2;
/// Characters of a name; the drawing's titles have all of it.
const NAME: usize = 26;

/// Muted, told apart also in print; the first for the class with the most rows.
const COLOURS: [&str; 10] = [
    "#1f4a41", "#b5562c", "#3f6ea5", "#8a6d1d", "#7a4a86", "#4f8a5b", "#a63d52", "#55626b",
    "#2c8a94", "#8f7a66",
];

/// One way through all layers, with its amount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    pub names: [String; LAYERS],
    pub amount: u64,
    /// Told beside the amount.
    pub statements: u64,
}

/// What a drawing says in words.
pub struct Legend<'w> {
    pub layers: [&'w str; LAYERS],
    pub others: &'w str,
    pub statements: &'w str,
    pub amount: &'w str,
    pub title: &'w str,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    amount: u64,
    statements: u64,
}

impl Sum {
    fn add(&mut self, way: &Way) {
        self.amount += way.amount;
        self.statements += way.statements;
    }
}

/// A node with its place.
#[derive(Debug, Clone)]
struct Node {
    name: String,
    sum: Sum,
    y: f64,
    height: f64,
}

/// Draws the ways; empty where there are none.
pub fn draw(ways: &[Way], legend: &Legend<'_>) -> String {
    let ways = gathered(ways, legend.others);
    if ways.is_empty() {
        return String::new();
    }
    let (layers, scale, height) = placed(&ways, legend.others);
    let colours = colours(&layers);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\"><title>{}</title>",
        escaped(legend.title)
    );
    for (layer, name) in legend.layers.iter().enumerate() {
        let (x, anchor) = anchored(layer);
        let _ = write!(
            svg,
            "<text class=\"layer\" x=\"{x:.0}\" y=\"16\" text-anchor=\"{anchor}\">{}</text>",
            escaped(name)
        );
    }
    svg.push_str("<g fill=\"none\">");
    for layer in 0..LAYERS - 1 {
        bands(&mut svg, &ways, &layers, layer, scale, &colours, legend);
    }
    svg.push_str("</g>");
    for (layer, nodes) in layers.iter().enumerate() {
        for node in nodes {
            draw_node(&mut svg, layer, node, &colours, legend);
        }
    }
    svg.push_str("</svg>");
    svg
}

/// Ways of which each name is one that is drawn, each once.
fn gathered(ways: &[Way], others: &str) -> Vec<Way> {
    let mut kept: [Vec<String>; LAYERS] = Default::default();
    for (layer, names) in kept.iter_mut().enumerate() {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for way in ways {
            if let Some(name) = way.names.get(layer) {
                *sums.entry(name).or_default() += way.amount;
            }
        }
        let mut ranked: Vec<(&str, u64)> = sums.into_iter().collect();
        ranked.sort_by_key(|(name, amount)| (std::cmp::Reverse(*amount), *name));
        let most = MOST.get(layer).copied().unwrap_or(0);
        *names = ranked
            .into_iter()
            .take(most)
            .map(|(name, _)| name.to_owned())
            .collect();
    }
    let mut merged: BTreeMap<[String; LAYERS], Sum> = BTreeMap::new();
    for way in ways.iter().filter(|way| way.amount > 0) {
        let mut names = way.names.clone();
        for (name, kept) in names.iter_mut().zip(&kept) {
            if !kept.contains(name) {
                others.clone_into(name);
            }
        }
        merged.entry(names).or_default().add(way);
    }
    merged
        .into_iter()
        .map(|(names, sum)| Way {
            names,
            amount: sum.amount,
            statements: sum.statements,
        })
        .collect()
}

/// The nodes of each layer in their places, units of height for each of the amount, and the height of it all.
fn placed(ways: &[Way], others: &str) -> (Vec<Vec<Node>>, f64, f64) {
    let total: u64 = ways.iter().map(|way| way.amount).sum();
    let scale = BANDS / total.max(1) as f64;
    let mut layers = Vec::new();
    let mut tallest: f64 = 0.0;
    for layer in 0..LAYERS {
        let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
        for way in ways {
            if let Some(name) = way.names.get(layer) {
                sums.entry(name).or_default().add(way);
            }
        }
        let mut nodes: Vec<Node> = sums
            .into_iter()
            .map(|(name, sum)| Node {
                name: name.to_owned(),
                sum,
                y: 0.0,
                height: (sum.amount as f64 * scale).max(THINNEST),
            })
            .collect();
        nodes.sort_by_key(|node| {
            (
                node.name == others,
                std::cmp::Reverse(node.sum.amount),
                node.name.clone(),
            )
        });
        let (mut y, mut label) = (0.0, f64::MIN);
        for node in &mut nodes {
            node.y = f64::max(y, label - node.height / 2.0);
            y = node.y + node.height + GAP;
            label = node.y + node.height / 2.0 + PITCH;
        }
        y = y.max(label);
        tallest = tallest.max(y);
        layers.push((nodes, y));
    }
    let layers = layers
        .into_iter()
        .map(|(mut nodes, height)| {
            let down = TOP + (tallest - height) / 2.0;
            nodes.iter_mut().for_each(|node| node.y += down);
            nodes
        })
        .collect();
    (layers, scale, TOP + tallest)
}

fn colours(layers: &[Vec<Node>]) -> HashMap<String, &'static str> {
    let classes = layers.get(COLOURED).into_iter().flatten();
    classes
        .zip(COLOURS.iter().cycle())
        .map(|(node, colour)| (node.name.clone(), *colour))
        .collect()
}

/// The bands between a layer and the next, those of one class beside each other.
fn bands(
    svg: &mut String,
    ways: &[Way],
    layers: &[Vec<Node>],
    layer: usize,
    scale: f64,
    colours: &HashMap<String, &'static str>,
    legend: &Legend<'_>,
) {
    let mut sums: BTreeMap<(usize, usize, usize), Sum> = BTreeMap::new();
    let index = |layer: usize, name: &str| {
        let nodes = layers.get(layer)?;
        nodes.iter().position(|node| node.name == name)
    };
    for way in ways {
        let at = |layer: usize| index(layer, way.names.get(layer)?);
        if let (Some(from), Some(to), Some(class)) = (at(layer), at(layer + 1), at(COLOURED)) {
            sums.entry((from, to, class)).or_default().add(way);
        }
    }
    let node = |layer: usize, index: usize| layers.get(layer).and_then(|nodes| nodes.get(index));
    let mut arrived: HashMap<usize, f64> = HashMap::new();
    let mut ends: HashMap<(usize, usize, usize), f64> = HashMap::new();
    let mut by_end: Vec<_> = sums.iter().collect();
    by_end.sort_by_key(|((from, to, class), _)| (*to, *from, *class));
    for (key, sum) in by_end {
        let place = arrived.entry(key.1).or_default();
        ends.insert(*key, *place);
        *place += sum.amount as f64 * scale;
    }
    let mut left: HashMap<usize, f64> = HashMap::new();
    for (key @ (from, to, class), sum) in &sums {
        let (Some(source), Some(target), Some(class)) = (
            node(layer, *from),
            node(layer + 1, *to),
            node(COLOURED, *class),
        ) else {
            continue;
        };
        let band = sum.amount as f64 * scale;
        let place = left.entry(*from).or_default();
        let start = source.y + *place + band / 2.0;
        *place += band;
        let end = target.y + ends.get(key).copied().unwrap_or(0.0) + band / 2.0;
        let (x1, x2) = (edge(layer) + NODE, edge(layer + 1));
        let middle = (x1 + x2) / 2.0;
        let colour = colours.get(&class.name).copied().unwrap_or("#555555");
        let _ = write!(
            svg,
            "<path d=\"M{x1:.1} {start:.1}C{middle:.1} {start:.1} {middle:.1} {end:.1} {x2:.1} {end:.1}\" \
             stroke=\"{colour}\" stroke-width=\"{:.1}\"><title>{} \u{2192} {} ({}): {}</title></path>",
            band.max(THINNEST),
            escaped(&source.name),
            escaped(&target.name),
            escaped(&class.name),
            told(*sum, legend)
        );
    }
}

fn draw_node(
    svg: &mut String,
    layer: usize,
    node: &Node,
    colours: &HashMap<String, &'static str>,
    legend: &Legend<'_>,
) {
    let colour = match layer == COLOURED {
        true => colours.get(&node.name).copied().unwrap_or("#555555"),
        false => "#3a3d3b",
    };
    let (x, anchor) = anchored(layer);
    let middle = node.y + node.height / 2.0;
    let _ = write!(
        svg,
        "<rect x=\"{:.0}\" y=\"{:.1}\" width=\"{NODE}\" height=\"{:.1}\" fill=\"{colour}\"><title>{}: {}</title></rect>\
         <text class=\"name\" x=\"{x:.0}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>\
         <text class=\"sum\" x=\"{x:.0}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
        edge(layer),
        node.y,
        node.height,
        escaped(&node.name),
        told(node.sum, legend),
        middle - 2.0,
        escaped(&short(&node.name)),
        middle + 13.0,
        grouped(node.sum.amount),
    );
}

fn edge(layer: usize) -> f64 {
    LEFT.get(layer).copied().unwrap_or(0.0)
}

/// Names stand to the left of the first layer, to the right of all others.
fn anchored(layer: usize) -> (f64, &'static str) {
    match layer {
        0 => (edge(0) - 8.0, "end"),
        _ => (edge(layer) + NODE + 8.0, "start"),
    }
}

fn told(sum: Sum, legend: &Legend<'_>) -> String {
    let statements = grouped(sum.statements);
    format!(
        "{} {}, {statements} {}",
        grouped(sum.amount),
        escaped(legend.amount),
        escaped(legend.statements)
    )
}

fn short(name: &str) -> String {
    match name.char_indices().nth(NAME) {
        Some((end, _)) => format!("{}\u{2026}", name.get(..end).unwrap_or_default()),
        None => name.to_owned(),
    }
}

/// `1,234,567`
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Text between tags. Names are of clients' choosing; XML has no control characters (XML 1.0, 2.2).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEGEND: Legend<'static> = Legend {
        layers: ["Application", "Role", "Class", "Table"],
        others: "others",
        statements: "statements",
        amount: "rows",
        title: "flows",
    };

    fn way(names: [&str; LAYERS], amount: u64) -> Way {
        Way {
            names: names.map(str::to_owned),
            amount,
            statements: 1,
        }
    }

    #[test]
    fn names_of_clients_choosing_stay_text() {
        let name = "<script>alert(\"1\")</script>\u{1b}";
        let svg = draw(&[way([name, "agent", "phone", "crm.contacts"], 5)], &LEGEND);
        assert!(!svg.contains("<script") && !svg.contains('\u{1b}'), "{svg}");
        assert!(svg.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;"));
    }

    #[test]
    fn bands_of_a_node_fill_it_and_nodes_do_not_overlap() {
        let ways: Vec<Way> = (0..40)
            .map(|number| {
                let table = format!("crm.t{}", number % 13);
                way(
                    [["web", "etl"][number % 2], "agent", "phone", &table],
                    1 + number as u64 * 10,
                )
            })
            .collect();
        let ways = gathered(&ways, "others");
        let (layers, scale, height) = placed(&ways, "others");
        for nodes in &layers {
            let sum: u64 = nodes.iter().map(|node| node.sum.amount).sum();
            assert!((sum as f64 * scale - BANDS).abs() < 1e-6);
            for pair in nodes.windows(2) {
                assert!(pair[0].y + pair[0].height < pair[1].y, "{pair:?}");
            }
            assert!(
                nodes
                    .iter()
                    .all(|node| node.y >= TOP && node.y + node.height <= height)
            );
        }
    }

    #[test]
    fn what_is_beyond_a_layer_goes_into_one_node() {
        let ways: Vec<Way> = (0..100)
            .map(|number| way(["web", "agent", &format!("c{number}"), "t"], 100 - number))
            .collect();
        let drawn = gathered(&ways, "others");
        let (layers, _, _) = placed(&drawn, "others");
        let classes = &layers[COLOURED];
        assert_eq!(classes.len(), MOST[COLOURED] + 1);
        assert_eq!(
            classes.last().map(|node| node.name.as_str()),
            Some("others")
        );
        let total: u64 = ways.iter().map(|way| way.amount).sum();
        let kept: u64 = classes.iter().map(|node| node.sum.amount).sum();
        assert_eq!(kept, total);
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(draw(&[], &LEGEND), "");
        assert_eq!(draw(&[way(["a", "b", "c", "d"], 0)], &LEGEND), "");
    }
}
