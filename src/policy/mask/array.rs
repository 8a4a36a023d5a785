//! Masks of arrays: element by element.
use super::column_type::ColumnType;
use super::sql::{call, operator};
use super::{Mask, Misfit};

/// The mask on each element of a one-dimensional array, in order. NULL elements stay NULL. An array of several
/// dimensions, which the elements alone cannot rebuild, becomes the empty array.
pub fn each(
    mask: &Mask,
    column: &str,
    data_type: &ColumnType,
    element: &ColumnType,
) -> Result<String, Misfit> {
    let masked = mask.sql("pgveil_element.v", element)?;
    let elements = call("unnest", &[column]);
    let dimensions = call("array_ndims", &[column]);
    Ok(format!(
        "(CASE WHEN {column} IS NULL THEN NULL WHEN {} THEN ARRAY(SELECT {masked} FROM {elements} \
         WITH ORDINALITY AS pgveil_element(v, n) ORDER BY pgveil_element.n) ELSE '{{}}'::{} END)::{}",
        operator(&dimensions, "=", "1"),
        data_type.sql,
        data_type.sql,
    ))
}
