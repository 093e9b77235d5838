"""`scenes`: list the built-in scenes."""


def scenes() -> None:
    """List the built-in scenes."""
    from splat_uff.scenes.builtin import list_scenes

    for scene in list_scenes():
        made = f"made, in {scene.folder}" if scene.made else "made on first use"
        views = f"{scene.num_train} + {scene.num_val} views at {scene.photo_size} px"
        print(f"{scene.name:<8} {scene.description}; {views}; {made}")
