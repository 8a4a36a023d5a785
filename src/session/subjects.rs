//! Which rows of protected relations a result shows: by the primary keys that its columns carry.
use sha2::{Digest, Sha256};

use crate::catalog::{AttNum, Oid};
use crate::policy::compiled::RolePolicy;
use crate::session::describe::{self, Field};
use crate::wire::frame::{Fields, Malformed};

/// Types whose values read the same in text and binary form once they are decoded (pg_type.dat).
const INTEGERS: [u32; 3] = [20, 21, 23];
const UUID: u32 = 2950;

/// The columns of a result that name a row of a protected relation, for each such relation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubjectColumns {
    relations: Vec<(Oid, Vec<Column>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Column {
    index: usize,
    data_type: u32,
}

impl SubjectColumns {
    /// From a RowDescription's body.
    ///
    /// # Errors
    /// It is malformed.
    pub fn of(body: &[u8], role: &RolePolicy) -> Result<Self, Malformed> {
        let mut relations = Vec::new();
        if role.subjects.is_empty() {
            return Ok(Self { relations });
        }
        let fields = describe::fields(body)?;
        let place = |relation: Oid, number: AttNum| {
            let named = |field: &Field<'_>| field.relation == relation && field.column == number;
            let index = fields.iter().position(named)?;
            let data_type = fields.get(index)?.data_type;
            Some(Column { index, data_type })
        };
        for (relation, key) in &role.subjects {
            let columns: Option<Vec<Column>> =
                key.iter().map(|number| place(*relation, *number)).collect();
            if let Some(columns) = columns.filter(|columns| !columns.is_empty()) {
                relations.push((*relation, columns));
            }
        }
        relations.sort_by_key(|(relation, _)| *relation);
        Ok(Self { relations })
    }

    pub fn is_empty(&self) -> bool {
        self.relations.is_empty()
    }

    /// A number for each row of a protected relation that a DataRow's body shows; rows whose key is NULL (an outer
    /// join's) are none. 64 bits of a hash over relation and key: that two of n rows share one and are counted once is
    /// less likely than n² / 2⁶⁵.
    ///
    /// # Errors
    /// The body is malformed.
    pub fn shown(&self, body: &[u8]) -> Result<Vec<i64>, Malformed> {
        let values = values(body)?;
        let mut shown = Vec::with_capacity(self.relations.len());
        for (relation, columns) in &self.relations {
            let mut hash = Sha256::new();
            hash.update(relation.to_be_bytes());
            let mut whole = true;
            for column in columns {
                match values.get(column.index).copied().flatten() {
                    Some(value) => put(&mut hash, value, column.data_type),
                    None => whole = false,
                }
            }
            if whole {
                let digest = hash.finalize();
                let head = digest.first_chunk::<8>().copied().unwrap_or_default();
                shown.push(i64::from_be_bytes(head));
            }
        }
        Ok(shown)
    }
}

/// A value in a form that does not depend on how it was sent.
fn put(hash: &mut Sha256, value: &[u8], data_type: u32) {
    let text = || std::str::from_utf8(value).ok();
    if INTEGERS.contains(&data_type) {
        let number = match (
            text().and_then(|text| text.parse::<i64>().ok()),
            value.len(),
        ) {
            (Some(number), _) => Some(number),
            (None, 2) => value.first_chunk().map(|b| i16::from_be_bytes(*b).into()),
            (None, 4) => value.first_chunk().map(|b| i32::from_be_bytes(*b).into()),
            (None, 8) => value.first_chunk().map(|b| i64::from_be_bytes(*b)),
            _ => None,
        };
        if let Some(number) = number {
            hash.update(8_u64.to_be_bytes());
            hash.update(number.to_be_bytes());
            return;
        }
    }
    if data_type == UUID
        && value.len() == 36
        && let Some(bytes) = text().and_then(|text| {
            let digits: String = text.chars().filter(|c| *c != '-').collect();
            u128::from_str_radix(&digits, 16).ok()
        })
    {
        hash.update(16_u64.to_be_bytes());
        hash.update(bytes.to_be_bytes());
        return;
    }
    hash.update((value.len() as u64).to_be_bytes());
    hash.update(value);
}

/// The values of a DataRow's body; `None` is NULL.
///
/// # Errors
/// The body is malformed.
pub fn values(body: &[u8]) -> Result<Vec<Option<&[u8]>>, Malformed> {
    let mut fields = Fields::new(body);
    let count = fields.int16()?;
    let mut values = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
    for _ in 0..count {
        values.push(match usize::try_from(fields.int32()?) {
            Ok(length) => Some(fields.bytes(length)?),
            Err(_) => None,
        });
    }
    fields.end()?;
    Ok(values)
}

#[cfg(test)]
mod bound;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    pub(super) fn role(key: &[AttNum]) -> RolePolicy {
        RolePolicy {
            subjects: HashMap::from([(7, key.to_vec())]),
            ..RolePolicy::default()
        }
    }

    pub(super) fn description(columns: &[(Oid, AttNum, u32)]) -> Vec<u8> {
        let mut body = (columns.len() as u16).to_be_bytes().to_vec();
        for (relation, column, data_type) in columns {
            body.extend(b"c\0");
            body.extend(relation.to_be_bytes());
            body.extend(column.to_be_bytes());
            body.extend(data_type.to_be_bytes());
            body.extend([0; 8]);
        }
        body
    }

    pub(super) fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut body = (values.len() as u16).to_be_bytes().to_vec();
        for value in values {
            match value {
                Some(value) => {
                    body.extend((value.len() as u32).to_be_bytes());
                    body.extend(*value);
                }
                None => body.extend((-1_i32).to_be_bytes()),
            }
        }
        body
    }

    #[test]
    fn text_and_binary_name_the_same_row() {
        let columns =
            SubjectColumns::of(&description(&[(0, 0, 25), (7, 1, 23)]), &role(&[1])).unwrap();
        let shown = |value: &[u8]| columns.shown(&row(&[Some(b"x"), Some(value)])).unwrap();
        assert_eq!(shown(b"4711"), shown(&4711_i32.to_be_bytes()));
        assert_eq!(shown(b"4711"), shown(&4711_i64.to_be_bytes()));
        assert_ne!(shown(b"4711"), shown(b"4712"));
        let uuid = SubjectColumns::of(&description(&[(7, 1, UUID)]), &role(&[1])).unwrap();
        let shown = |value: &[u8]| uuid.shown(&row(&[Some(value)])).unwrap();
        assert_eq!(
            shown(b"00000000-0000-0000-0000-0000000000ff"),
            shown(&255_u128.to_be_bytes())
        );
    }

    #[test]
    fn a_result_without_the_whole_key_names_nobody() {
        let of = |columns: &[(Oid, AttNum, u32)], key: &[AttNum]| {
            SubjectColumns::of(&description(columns), &role(key)).unwrap()
        };
        assert!(of(&[(7, 2, 25)], &[1]).is_empty());
        assert!(of(&[(8, 1, 23)], &[1]).is_empty());
        assert!(of(&[(7, 1, 23)], &[1, 2]).is_empty());
        assert!(of(&[(7, 1, 23)], &[]).is_empty());
        let both = of(&[(7, 2, 23), (7, 1, 23)], &[1, 2]);
        assert!(both.shown(&row(&[Some(b"1"), None])).unwrap().is_empty());
        assert_eq!(
            both.shown(&row(&[Some(b"1"), Some(b"2")])).unwrap().len(),
            1
        );
        assert!(both.shown(b"\0\x09").is_err());
    }
}
