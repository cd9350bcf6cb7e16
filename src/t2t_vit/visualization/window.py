"""Pictures in a window, where there is a screen."""

from __future__ import annotations

from PIL import Image

from t2t_vit.errors import ConfigError


def check_screen(instead: str = "show_dir=… (--show-dir)") -> None:
    """Refuse to show pictures where nobody would see them.

    Args:
        instead: What else one may ask for, for the message.

    Raises:
        ConfigError: matplotlib has no window, browser or notebook to draw in.
    """
    import matplotlib.pyplot as plt
    from matplotlib.backends.registry import BackendFilter, backend_registry

    to_files = {name.lower() for name in backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE)}
    reason = ""
    if plt.get_backend().lower() not in to_files:
        try:
            plt.close(plt.figure())
        except Exception as error:  # each toolkit has its own for a screen that is not there
            reason = f" ({' '.join(str(error).split())})"
        else:
            return
    raise ConfigError(f"showing pictures needs a screen and there is none here{reason}; use {instead}")


def show_picture(image: Image.Image, title: str, seconds: float) -> None:
    """Show `image` in a window of its own, for some seconds or, with 0, until the window is closed."""
    import matplotlib.pyplot as plt

    figure = plt.figure(layout="constrained")
    if figure.canvas.manager is not None:
        figure.canvas.manager.set_window_title(title)
    axes = figure.subplots()
    axes.imshow(image)
    axes.set_axis_off()
    if seconds:
        plt.pause(seconds)
    else:
        plt.show(block=True)
    plt.close(figure)
