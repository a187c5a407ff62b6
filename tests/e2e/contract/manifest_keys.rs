//! The record of the keys that have signed manifests.

use anyhow::Result;
use audit_log_core::{
    manifest::{ManifestKey, UsedKey},
    ports::ManifestKeys as _,
};
use futures::future::join_all;

use crate::{
    local::{on_local_aws, text},
    world::{World, clock},
};

on_both_worlds! {
    before_the_first_manifest_there_are_no_keys
    a_key_is_noted_once
    another_key_retires_the_one_before
    a_key_that_is_used_again_is_the_one_in_use
    of_two_keys_that_are_noted_at_once_none_is_lost
}

fn key(name: &str) -> ManifestKey {
    ManifestKey { name: "platform".to_owned(), public_key: name.into() }
}

fn used(name: &str, first_used_at: &str, retired_at: Option<&str>) -> Result<UsedKey> {
    Ok(UsedKey { key: key(name), first_used_at: clock(first_used_at)?, retired_at: retired_at.map(clock).transpose()? })
}

async fn note(world: &impl World, name: &str, time: &str) -> Result<Vec<UsedKey>> {
    world.manifest_keys().note_key(&key(name), clock(time)?).await?;
    Ok(world.manifest_keys().manifest_keys().await?)
}

async fn before_the_first_manifest_there_are_no_keys(world: &impl World) -> Result<()> {
    assert_eq!(world.manifest_keys().manifest_keys().await?, []);
    Ok(())
}

async fn a_key_is_noted_once(world: &impl World) -> Result<()> {
    for time in ["10:00", "10:00", "11:00"] {
        assert_eq!(note(world, "first", time).await?, [used("first", "10:00", None)?]);
    }
    Ok(())
}

async fn another_key_retires_the_one_before(world: &impl World) -> Result<()> {
    note(world, "first", "10:00").await?;
    let both = [used("second", "11:00", None)?, used("first", "10:00", Some("11:00"))?];
    for time in ["11:00", "12:00"] {
        assert_eq!(note(world, "second", time).await?, both);
    }
    let third = [
        used("third", "13:00", None)?,
        used("second", "11:00", Some("13:00"))?,
        used("first", "10:00", Some("11:00"))?,
    ];
    assert_eq!(note(world, "third", "13:00").await?, third);
    // The same public key under another name, after the stack was made anew.
    let renamed = ManifestKey { name: "renamed".to_owned(), ..key("third") };
    world.manifest_keys().note_key(&renamed, clock("14:00")?).await?;
    let keys = world.manifest_keys().manifest_keys().await?;
    assert_eq!((keys.len(), &keys[0].key, keys[1].retired_at), (4, &renamed, Some(clock("14:00")?)));
    Ok(())
}

async fn a_key_that_is_used_again_is_the_one_in_use(world: &impl World) -> Result<()> {
    for (name, time) in [("first", "10:00"), ("second", "11:00")] {
        note(world, name, time).await?;
    }
    let back = [used("first", "10:00", None)?, used("second", "11:00", Some("12:00"))?];
    assert_eq!(note(world, "first", "12:00").await?, back);
    Ok(())
}

async fn of_two_keys_that_are_noted_at_once_none_is_lost(world: &impl World) -> Result<()> {
    let names = ["a", "b", "c", "d"];
    let keys = names.map(key);
    let now = clock("10:00")?;
    let noted = join_all(keys.iter().map(|key| world.manifest_keys().note_key(key, now))).await;
    noted.into_iter().collect::<Result<Vec<()>, _>>()?;
    let stored = world.manifest_keys().manifest_keys().await?;
    assert_eq!(stored.iter().filter(|used| used.retired_at.is_none()).count(), 1, "{stored:?}");
    for key in keys {
        assert_eq!(stored.iter().filter(|used| used.key == key).count(), 1, "{key:?} in {stored:?}");
    }
    Ok(())
}

/// A process notes its key whenever it begins.
#[test]
fn noting_the_key_in_use_writes_nothing() -> Result<()> {
    on_local_aws(async |world| {
        let revision = async || -> Result<Option<String>> {
            Ok(text(&world.fixture.platform.record("#platform", "manifest_keys").await?, "revision"))
        };
        for (name, time, written) in
            [("a", "10:00", "1"), ("a", "11:00", "1"), ("b", "12:00", "2"), ("b", "13:00", "2")]
        {
            note(world, name, time).await?;
            assert_eq!(revision().await?.as_deref(), Some(written), "{name} at {time}");
        }
        Ok(())
    })
}
