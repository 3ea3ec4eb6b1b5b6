//! Cuts a stretch of keys into about equal parts.
//!
//! A short stretch is counted. A long one is cut where arithmetic on the first column in which its
//! ends differ, and the server's estimates, put the cuts; each is then looked up, so that what is
//! answered are keys that there are, in the server's order.

use dunlin_engine::TargetError;
use dunlin_model::{Backfill, Bound, Key, KeyRange};

use super::position::{Scale, WHOLE};
use super::range::KeySql;
use super::walk::is_cut_off;
use crate::literal;
use crate::target::MysqlTarget;

/// So many rows are counted rather than estimated: some 15 ms.
const COUNTED_ROWS_MAX: u64 = 100_000;

/// How often a cut is tried at most: to the end of the scale, at some 0.2 ms each.
const PROBES: u32 = 32;

/// A cut is good enough where it is off by this share of a part.
const GOOD_SHARE: u64 = 16;

impl MysqlTarget {
    pub(crate) async fn split_keys(
        &mut self,
        work: &Backfill,
        after: &Bound,
        upto: &Key,
        parts: u32,
    ) -> Result<Vec<Key>, TargetError> {
        if parts < 2 {
            return Ok(Vec::new());
        }
        let whole = KeyRange::Between { after: after.clone(), upto: upto.clone() };
        let rows = self.stretch_rows(work, after, upto).await?.unwrap_or_default();
        if rows <= COUNTED_ROWS_MAX {
            let spacing = (rows / u64::from(parts)).max(1);
            let marks = self.walk_keys(work, after, upto, spacing, parts - 1).await?;
            let keys = marks.into_iter().map(|mark| mark.key).filter(|key| key != upto);
            return Ok(keys.collect());
        }
        let Some(low) = self.key_at(work, &whole, 0).await? else {
            return Ok(Vec::new());
        };
        let cuts = self.candidates(work, after, &low, upto, rows, parts).await?;
        self.snapped(work, after, upto, cuts).await
    }

    /// Conditions that hold from each cut on.
    async fn candidates(
        &mut self,
        work: &Backfill,
        after: &Bound,
        low: &Key,
        upto: &Key,
        rows: u64,
        parts: u32,
    ) -> Result<Vec<String>, TargetError> {
        let key = KeySql::of(work);
        let Some(at) = low.0.iter().zip(&upto.0).position(|(low, high)| low != high) else {
            return Ok(Vec::new());
        };
        let (Some((column, kind)), Some(from), Some(to)) =
            (key.columns().get(at), low.0.get(at), upto.0.get(at))
        else {
            return Ok(Vec::new());
        };
        let Some(scale) = Scale::of(kind, from, to) else {
            return Ok(Vec::new());
        };
        // The columns before are the same at both ends.
        let mut same = String::new();
        for ((column, kind), text) in key.columns().iter().zip(&low.0).take(at) {
            let (name, literal) = (literal::name(&column.name), kind.key_literal(text)?);
            same.push_str(&format!("{name} = {literal} AND "));
        }
        let name = literal::name(&column.name);
        let beyond = if column.descending { "<" } else { ">" };
        let before = if column.descending { ">=" } else { "<=" };
        let start = match after {
            Bound::Key(after) => key.side(None, after, true, false)?,
            Bound::Start | Bound::Nulls => key.not_null(),
        };
        let table = Self::walked(work);
        let all = self.explained_rows(&table, "1 = 1").await?.unwrap_or_default();
        let end = key.side(None, upto, false, true)?;
        let mut cuts = Vec::new();
        for part in 1..parts {
            let wanted = rows / u64::from(parts) * u64::from(part);
            let (mut left, mut right) = (0, WHOLE);
            for _ in 0..PROBES {
                let middle = u64::midpoint(left, right);
                let literal = kind.key_literal(&scale.at(middle))?;
                let condition = format!("{start} AND {same}{name} {before} {literal}");
                let mut found = self.explained_rows(&table, &condition).await?.unwrap_or_default();
                if is_cut_off(found, all) {
                    let behind = format!("{same}{name} {beyond} {literal} AND {end}");
                    let rest = self.explained_rows(&table, &behind).await?.unwrap_or_default();
                    found = rows.saturating_sub(rest);
                }
                if found < wanted {
                    left = middle;
                } else {
                    right = middle;
                }
                if found.abs_diff(wanted) < rows / u64::from(parts) / GOOD_SHARE {
                    right = middle;
                    break;
                }
            }
            let literal = kind.key_literal(&scale.at(right))?;
            cuts.push(format!("{same}{name} {beyond} {literal}"));
        }
        Ok(cuts)
    }

    /// The first key behind each cut, each behind the one before.
    async fn snapped(
        &mut self,
        work: &Backfill,
        after: &Bound,
        upto: &Key,
        cuts: Vec<String>,
    ) -> Result<Vec<Key>, TargetError> {
        let key = KeySql::of(work);
        let mut keys: Vec<Key> = Vec::new();
        for cut in cuts {
            let from = keys.last().map_or_else(|| after.clone(), |key| Bound::Key(key.clone()));
            let condition = format!("{} AND {cut}", key.inside(&from, upto)?);
            keys.extend(self.keys_where(work, &condition, 0, 1).await?);
        }
        Ok(keys)
    }
}
