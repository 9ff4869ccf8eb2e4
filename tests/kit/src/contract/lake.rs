//! The lake: uploads, and what becomes visible of them.

use anyhow::{Result, ensure};
use theatre_actors::ports::*;

/// Uploads, completion, listing, sweeping.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn lake_completes_once(lake: &dyn Lake) -> Result<()> {
    let put = |path: &str, attempt: &str, bytes: &[u8]| -> Result<String> {
        let mut upload = lake.begin(path, attempt)?;
        upload.write(bytes)?;
        Ok(upload.seal()?)
    };
    let upload = put("d/x/1.parquet", "p0-e1-1", b"one")?;
    ensure!(
        lake.list("")?.is_empty() && lake.read("d/x/1.parquet").is_err(),
        "a sealed file is not visible"
    );
    lake.complete("d/x/1.parquet", &upload)?;
    lake.complete("d/x/1.parquet", &upload)?;
    ensure!(&lake.read("d/x/1.parquet")?[..] == b"one");
    let opened = lake.open_file("d/x/1.parquet")?;
    ensure!(opened.size() == 3 && &opened.read(1..3)?[..] == b"ne");
    ensure!(
        matches!(opened.read(1..4), Err(Error::Refused(_)))
            && matches!(lake.open_file("d/x/0"), Err(Error::Gone(_))),
        "bytes that are not there are not made up"
    );
    // One that is large enough for a reader to fetch parts of it.
    let large: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let upload = put("d/z/1.parquet", "p0-e1-2", &large)?;
    lake.complete("d/z/1.parquet", &upload)?;
    let opened = lake.open_file("d/z/1.parquet")?;
    let size = large.len();
    ensure!(opened.size() == size as u64);
    for range in [
        0..4,
        65_000..66_000,
        500_000..500_001,
        size - 66_000..size - 65_000,
        size - 8..size,
        0..size,
        7..7,
    ] {
        let read = opened.read(range.start as u64..range.end as u64)?;
        ensure!(read[..] == large[range.clone()], "bytes {range:?}");
    }
    let again = put("d/x/1.parquet", "p0-e2-1", b"two")?;
    lake.complete("d/x/1.parquet", &again)?;
    ensure!(
        &lake.read("d/x/1.parquet")?[..] == b"one",
        "a name, once taken, keeps its bytes"
    );
    let kept = put("d/y/2.parquet", "p0-e2-2", b"three")?;
    put("d/y/3.parquet", "p1-e1-1", b"four")?;
    lake.sweep(0, 3, std::slice::from_ref(&kept))?;
    lake.complete("d/y/2.parquet", &kept)?;
    ensure!(
        lake.list("d/y")?
            == [LakeEntry {
                path: "d/y/2.parquet".to_owned(),
                bytes: 5
            }]
    );
    ensure!(
        lake.sweep(1, 2, &[])? == 1,
        "another partition's upload was left alone, and is swept with its own"
    );
    // An owner that hung before it swept has lost the partition meanwhile: it knows nothing of what
    // its successor registered.
    let successors = put("d/y/5.parquet", "p0-e10-1", b"five")?;
    ensure!(
        lake.sweep(0, 9, &[])? == 0,
        "what was begun under a later epoch is swept under no earlier one"
    );
    lake.complete("d/y/5.parquet", &successors)?;
    let (own, manifest) = (
        put("d/y/6.parquet", "p0-e10-2", b"six")?,
        put("d/y/7.json", "p0-load-0f", b"seven")?,
    );
    ensure!(
        lake.sweep(0, 10, &[])? == 1,
        "of what is its own only that goes which is under no epoch"
    );
    ensure!(
        matches!(lake.complete("d/y/7.json", &manifest), Err(Error::Gone(_)))
            && lake.complete("d/y/6.parquet", &own).is_ok()
    );
    ensure!(
        matches!(lake.complete("d/z/9.parquet", "never"), Err(Error::Gone(_))),
        "neither parts nor file"
    );
    Ok(())
}
