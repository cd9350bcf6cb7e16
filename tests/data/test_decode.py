"""The decoding policy, on images made here: each trait alone, with its right pixels known."""

import io
import pickle
import struct
import subprocess
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from t2t_vit.data import decode as decode_module
from t2t_vit.data.decode import decode, from_array, from_pil
from t2t_vit.errors import ConfigError, ImageError, ImageNotFoundError

WHITE, RED, GREEN = (255, 255, 255), (255, 0, 0), (0, 255, 0)


def encoded(image, file_format, **options):
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def pixels(image):
    return np.asarray(image).astype(int)


@pytest.fixture
def picture():
    """48 wide, 32 high, another colour in each corner, so that every turn shows."""
    image = Image.new("RGB", (48, 32), "black")
    for colour, corner in {"red": (0, 0), "lime": (24, 0), "blue": (0, 16), "white": (24, 16)}.items():
        image.paste(colour, (*corner, corner[0] + 24, corner[1] + 16))
    return image


def png(width, height, bit_depth, colour_type, rows, *chunks):
    """A PNG that Pillow itself would not write: any bit depth, with extra chunks before the pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", body), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


# --- what comes back ---


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_a_path_a_string_bytes_and_an_opened_image_give_the_same_picture(tmp_path, picture, mode):
    path = tmp_path / "picture.png"
    picture.save(path)
    expected = np.asarray(picture.convert(mode))
    with Image.open(path) as opened:
        results = [
            decode(path, mode),
            decode(str(path), mode),
            decode(path.read_bytes(), mode),
            from_pil(opened, mode),
        ]
    for result in results:
        assert type(result) is Image.Image
        assert result.mode == mode
        np.testing.assert_array_equal(np.asarray(result), expected)


def test_an_ordinary_jpeg_has_the_pixels_that_pillow_gives(picture):
    data = encoded(picture, "JPEG")
    np.testing.assert_array_equal(pixels(decode(data)), pixels(Image.open(io.BytesIO(data)).convert("RGB")))


def test_a_decoded_picture_can_be_pickled(picture):
    decoded = decode(encoded(picture, "JPEG"))
    assert pickle.loads(pickle.dumps(decoded)) == decoded


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
@pytest.mark.parametrize(
    "source",
    ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "I", "F",
     "I;16", "I;16L", "I;16B", "I;16N"],
)  # fmt: skip
def test_every_mode_of_pillow_is_converted(source, mode):
    if source.startswith(("I", "F")):
        image, level = Image.new(source, (5, 4), 40_000), round(40_000 / 257)
    else:
        route = {"La": "LA", "RGBa": "RGBA", "PA": "RGBA"}.get(source, "RGB")
        image, level = Image.new(route, (5, 4), "white").convert(source), 255
    result = from_pil(image, mode)
    assert (result.mode, result.size) == (mode, (5, 4))
    np.testing.assert_array_equal(result.convert("L"), np.full((4, 5), level))


# --- orientation ---


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_orientation_is_applied_once(picture, file_format, orientation):
    stored_as = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that `orientation` undoes
    stored = picture.transpose(Image.Transpose(stored_as[orientation])) if orientation > 1 else picture
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(encoded(stored, file_format, exif=exif))
    assert decoded.size == picture.size
    # Lossy formats blur the borders between the colours; a wrong turn would differ by 100 and more.
    assert np.abs(pixels(decoded) - pixels(picture)).mean() < 10


def test_a_decoded_picture_is_not_turned_again(picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode(encoded(picture, "JPEG", exif=exif))
    assert from_pil(decoded) == decoded
    assert decode(encoded(decoded, "PNG")) == decoded


def test_an_opened_image_is_turned_but_itself_left_alone(picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    opened = Image.open(io.BytesIO(encoded(picture, "PNG", exif=exif)))
    assert from_pil(opened) == picture.transpose(Image.Transpose.ROTATE_270)
    assert opened.size == picture.size
    assert opened.getexif()[0x0112] == 6


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0garbage that is no TIFF",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0",  # orientation 99, cut short
    ],
)
def test_a_picture_with_broken_exif_stands_as_stored(picture, exif):
    data = encoded(picture, "JPEG", exif=exif)
    plain = encoded(picture, "JPEG")
    assert decode(data) == decode(plain)


# --- depth ---

DEEP = np.array([[0, 128, 257 * 100, 65535]], dtype=np.uint16)
DEEP_IN_8_BITS = [[0, 0, 100, 255]]


@pytest.mark.parametrize(
    "data",
    [
        encoded(Image.fromarray(DEEP), "PNG"),
        encoded(Image.fromarray(DEEP), "TIFF"),
        encoded(Image.frombytes("I;16B", (4, 1), DEEP.astype(">u2").tobytes()), "TIFF"),
        encoded(Image.fromarray(DEEP.astype(np.int32)), "TIFF"),
        encoded(Image.fromarray(DEEP.astype(np.float32)), "TIFF"),
        encoded(Image.fromarray((DEEP / 65535).astype(np.float32)), "TIFF"),
        encoded(Image.fromarray((DEEP / 257).astype(np.float32)), "TIFF"),
        b"P5 4 1 65535\n" + DEEP.astype(">u2").tobytes(),
        encoded(Image.fromarray(DEEP), "JPEG2000"),
    ],
    ids=["png", "tiff", "big-endian", "int32", "float-65535", "float-1", "float-255", "pgm", "jpeg2000"],
)
def test_grey_of_more_than_8_bits_is_rescaled_and_not_clipped(data):
    np.testing.assert_array_equal(pixels(decode(data, "L")), DEEP_IN_8_BITS)
    np.testing.assert_array_equal(pixels(decode(data))[:, :, 1], DEEP_IN_8_BITS)


def tiff(bits, photometric, data, width):
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 1, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + b"\0\0\0\0"
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def test_white_of_a_12_bit_tiff_is_4095():
    data = tiff(12, 1, bytes([0xFF, 0xF0, 0x00]), width=2)
    np.testing.assert_array_equal(pixels(decode(data, "L")), [[255, 0]])


def test_a_16_bit_tiff_whose_zero_is_white_is_inverted():
    data = tiff(16, 0, DEEP.tobytes(), width=4)
    np.testing.assert_array_equal(pixels(decode(data, "L")), [[255, 255, 155, 0]])


@pytest.mark.parametrize(
    "values",
    [[-1, 5], [0, 65536], [0.0, np.nan], [0.0, np.inf], [-0.5, 0.5], [0.0, 70_000.0]],
    ids=str,
)
def test_values_without_a_known_white_are_refused(values):
    array = np.array([values])
    image = Image.fromarray(array.astype(np.int32 if array.dtype.kind == "i" else np.float32))
    with pytest.raises(ImageError, match=r"nothing says which is white"):
        decode(encoded(image, "TIFF"))


def test_16_bit_colour_keeps_its_high_byte():
    row = struct.pack(">6H", 0x0102, 0x8000, 0xFFFF, 0xFFFF, 0x00FF, 0x1234)
    np.testing.assert_array_equal(pixels(decode(png(2, 1, 16, 2, [row]))), [[[0x01, 0x80, 0xFF], [0xFF, 0x00, 0x12]]])


def test_a_1_bit_picture_is_black_and_white():
    np.testing.assert_array_equal(pixels(decode(png(4, 1, 1, 0, [b"\xa0"]), "L")), [[255, 0, 255, 0]])


# --- transparency ---


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "TGA"])
def test_an_alpha_channel_is_composited_over_white(file_format, mode):
    alpha = np.array([[255, 128, 0]], dtype=np.uint8)
    bands = [np.full_like(alpha, 100)] * (len(mode) - 1) + [alpha]
    data = encoded(Image.merge(mode, [Image.fromarray(band) for band in bands]), file_format)
    expected = 255 - (255 - 100) * (alpha / 255)
    for result in (pixels(decode(data))[:, :, 0], pixels(decode(data, "L"))):
        np.testing.assert_allclose(result, expected, atol=1)  # Pillow rounds in 8 bits
    np.testing.assert_array_equal(pixels(decode(data, "RGBA"))[:, :, 3], alpha)


def test_transparent_palette_entries_show_white():
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8)).convert("P")
    image.putpalette([*RED, *GREEN, *WHITE])
    half = decode(encoded(image, "PNG", transparency=bytes([128, 0, 255])))
    np.testing.assert_allclose(pixels(half), [[(255, 127, 127), WHITE, WHITE]], atol=1)
    whole = decode(encoded(image, "PNG", transparency=0))
    np.testing.assert_array_equal(pixels(whole), [[WHITE, GREEN, WHITE]])
    np.testing.assert_array_equal(pixels(decode(encoded(image, "GIF", transparency=0))), pixels(whole))


@pytest.mark.parametrize(
    ("bit_depth", "colour_type", "row", "transparent", "expected"),
    [
        (1, 0, b"\x40", ">H1", [0, 255, 0, 0]),
        (2, 0, b"\x1b", ">H1", [0, 255, 170, 255]),
        (4, 0, b"\x01\x23", ">H2", [0, 17, 255, 51]),
        (8, 0, b"\x00\x01\x02\x03", ">H2", [0, 1, 255, 3]),
        (16, 0, struct.pack(">4H", 0, 25700, 25701, 65535), ">H25700", [0, 255, 100, 255]),
        (8, 2, bytes([0, 0, 0, 9, 9, 9, 8, 8, 8, 7, 7, 7]), ">HHH9,9,9", [0, 255, 8, 7]),
        (16, 2, struct.pack(">12H", *[0] * 3, *[2305] * 3, *[2056] * 3, *[7] * 3), ">HHH2305,2305,2305",
         [0, 255, 8, 0]),
    ],
    ids=["grey-1", "grey-2", "grey-4", "grey-8", "grey-16", "rgb-8", "rgb-16"],
)  # fmt: skip
def test_the_transparent_colour_of_a_png_shows_white_at_every_depth(bit_depth, colour_type, row, transparent, expected):
    layout = transparent.rstrip("0123456789,")
    values = map(int, transparent.removeprefix(layout).split(","))
    data = png(4, 1, bit_depth, colour_type, [row], (b"tRNS", struct.pack(layout, *values)))
    np.testing.assert_array_equal(pixels(decode(data))[:, :, 0], [expected])
    # What is transparent shows white: 255 may also be the picture's own white.
    assert (pixels(decode(data, "RGBA"))[0, :, 3] == 0).sum() == 1


@pytest.mark.parametrize("transparent", [False, True])
def test_what_the_first_frame_of_a_gif_leaves_bare_shows_white(transparent):
    frame = Image.new("P", (2, 1), 1)
    frame.putpalette([*RED, *GREEN])
    data = encoded(frame, "GIF", optimize=False)
    image_descriptor = data.index(b"\x2c")
    control = b"\x21\xf9\x04\x01\0\0\0\0" if transparent else b""
    data = (
        b"GIF89a" + struct.pack("<HHBBB", 4, 3, 0x80, 0, 0) + bytes([*RED, *GREEN]) + control
        + b"\x2c" + struct.pack("<HH", 1, 2) + data[image_descriptor + 5 :]
    )  # fmt: skip
    expected = np.full((3, 4, 3), 255)
    expected[2, 1:3] = GREEN
    np.testing.assert_array_equal(pixels(decode(data)), expected)


# --- colour spaces, frames ---


def test_cmyk_jpeg_becomes_rgb():
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(pixels(decode(encoded(red, "JPEG", quality=95))) - RED).max() <= 3  # JPEG loses a little


def test_an_icc_profile_changes_no_pixel(picture):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    assert decode(encoded(picture, "PNG", icc_profile=profile)) == picture


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
def test_the_first_frame_stands_for_all(file_format):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN)]
    data = encoded(frames[0], file_format, save_all=True, append_images=frames[1:])
    assert np.abs(pixels(decode(data)) - RED).max() <= 3  # lossy formats lose a little


# --- what is refused ---


@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "TGA", "PPM"])
def test_a_truncated_file_is_refused_even_where_pillow_is_told_to_accept_it(
    monkeypatch, tmp_path, file_format, tolerant
):
    noise = Image.fromarray(np.random.RandomState(0).randint(0, 256, (96, 96, 3), dtype=np.uint8))
    data = encoded(noise, file_format)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", tolerant)
    assert decode(data).size == (96, 96)
    path = tmp_path / f"cut.{file_format.lower()}"
    for kept in (0.2, 0.5, 0.9, 0.99):
        path.write_bytes(data[: int(len(data) * kept)])
        with pytest.raises(ImageError, match=r"cut\.") as caught:
            decode(path)
        assert "\n" not in str(caught.value)
    assert tolerant == ImageFile.LOAD_TRUNCATED_IMAGES


def test_a_whole_jpeg_2000_is_read_where_pillow_is_told_to_accept_truncated_files(monkeypatch, picture):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert decode(encoded(picture, "JPEG2000")) == picture


def test_a_png_with_a_damaged_pixel_chunk_is_refused(picture):
    data = bytearray(encoded(picture, "PNG"))
    data[data.index(b"IDAT") + 10] ^= 0xFF
    with pytest.raises(ImageError, match=r"The data is truncated or corrupt: "):
        decode(bytes(data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty: it has 0 bytes"),
        (b"<!DOCTYPE html><html>not found</html>", "is not an image; it begins with '<!DOCTYPE html>"),
        (b"version https://git-lfs.github.com/spec/v1\n", "begins with 'version https://git-lfs"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(40), "is a HEIF picture"),
        (b"\x89PNG\r\n\x1a\nnonsense", "is truncated or corrupt: Truncated File Read"),
        (b"GIF89a\0\0\x20\0\0\0\0", "begins as GIF, but its header is corrupt"),
        (b"P6 -3 5 255\n", "begins as PPM, but its header is corrupt"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "is a drawing"),
        (b"\xff\xd8\xff\xe0", "begins as JPEG"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_name_and_the_reason(tmp_path, data, message):
    path = tmp_path / "upload.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError) as caught:
        decode(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_answered_with_the_nearest_names(tmp_path):
    (tmp_path / "bird.JPEG").touch()
    with pytest.raises(ImageNotFoundError, match=r"no image file .*brid\.JPEG\. Did you mean 'bird\.JPEG'\?"):
        decode(tmp_path / "brid.JPEG")
    with pytest.raises(ImageNotFoundError, match=r"nowhere is not a folder"):
        decode(tmp_path / "nowhere" / "bird.JPEG")
    with pytest.raises(ImageNotFoundError, match=r"is not a folder"):
        decode(tmp_path / "bird.JPEG" / "bird.JPEG")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ImageError, match=r"is a folder; expected an image file"):
        decode(tmp_path)


def test_a_path_that_no_system_can_open_is_refused():
    with pytest.raises(ImageError, match=r"cannot be read: "):
        decode("bird\0.png")


def test_a_picture_without_pixels_is_refused():
    with pytest.raises(ImageError, match=r"has no pixels: it is 0 wide and 5 high"):
        from_pil(Image.new("RGB", (0, 5)))


@pytest.mark.parametrize("pillow_limit", [Image.MAX_IMAGE_PIXELS, None])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(monkeypatch, pillow_limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillow_limit)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("was decoded"))
    with pytest.raises(ImageError, match=r"The data is taken for a decompression bomb"):
        decode(png(20_000, 20_000, 8, 2, [b""]))


def test_memory_errors_and_interrupts_pass(monkeypatch, picture):
    data = encoded(picture, "PNG")
    for error in (MemoryError, KeyboardInterrupt):

        def interrupted(_, error=error):
            raise error

        monkeypatch.setattr(ImageFile.ImageFile, "load", interrupted)
        with pytest.raises(error):
            decode(data)


@pytest.mark.parametrize("error", [SyntaxError, struct.error, OSError, ValueError, EOFError, KeyError, TypeError])
def test_whatever_a_plugin_raises_is_an_image_error(monkeypatch, picture, error):
    def fails(_):
        raise error("several\nlines")

    monkeypatch.setattr(ImageFile.ImageFile, "load", fails)
    with pytest.raises(ImageError, match=r"The data is truncated or corrupt: .*several"):
        decode(encoded(picture, "BMP"))


def test_an_unknown_mode_is_answered_with_the_known_ones(picture):
    with pytest.raises(ConfigError, match=r"mode is 'rgb'; expected one of 'RGB', 'L', 'RGBA'"):
        decode(encoded(picture, "PNG"), "rgb")


# --- the process around it ---


def test_pillows_warnings_do_not_leak_and_no_global_state_changes(monkeypatch, picture):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", picture.width * picture.height - 1)
    data = encoded(picture, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        Image.open(io.BytesIO(data))
        assert seen, "Pillow was to warn of this file, or there is nothing to test"
        seen.clear()
        before = list(warnings.filters)
        decode(data)
        assert not seen
        assert warnings.filters == before
    assert picture.width * picture.height - 1 == Image.MAX_IMAGE_PIXELS


def test_threads_that_decode_at_once_leave_the_warning_filters_as_they_were(picture):
    before = list(warnings.filters)
    data = encoded(picture, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01")
    failures = []

    def work():
        try:
            for _ in range(40):
                decode(data)
        except Exception as error:  # warnings are errors here
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert warnings.filters == before
    assert decode_module._silent_decodes == 0


def test_decoding_imports_neither_torch_nor_timm():
    code = "import sys, t2t_vit.data.decode; print({'torch', 'torchvision', 'timm'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


# --- arrays ---


def test_arrays_of_every_shape_become_the_picture_they_hold():
    colour = np.array([[[1, 2, 3], [4, 5, 6]]], dtype=np.uint8)
    np.testing.assert_array_equal(pixels(from_array(colour)), colour[:, :, ::-1])
    np.testing.assert_array_equal(pixels(from_array(colour, "rgb")), colour)
    np.testing.assert_array_equal(pixels(from_array(colour[:, :, 0], mode="L")), [[1, 4]])
    np.testing.assert_array_equal(pixels(from_array(colour[:, :, :1], mode="L")), [[1, 4]])
    np.testing.assert_array_equal(pixels(from_array(colour[:, ::-1], "rgb")), colour[:, ::-1])


def test_the_alpha_of_an_array_is_composited_over_white():
    array = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], dtype=np.uint8)
    np.testing.assert_array_equal(pixels(from_array(array)), [[(30, 20, 10), WHITE]])
    np.testing.assert_array_equal(pixels(from_array(array, "rgb", "RGBA")), array)


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_uint16_arrays_are_rescaled(dtype):
    np.testing.assert_array_equal(pixels(from_array(DEEP.astype(dtype), mode="L")), DEEP_IN_8_BITS)


def test_true_is_white():
    np.testing.assert_array_equal(pixels(from_array(np.array([[True, False]]), mode="L")), [[255, 0]])


def test_a_picture_does_not_change_with_the_array_it_was_made_of():
    array = np.zeros((2, 2), dtype=np.uint8)
    image = from_array(array, mode="L")
    array[:] = 255
    assert pixels(image).max() == 0


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 2, 3), np.float32), r"float32 is not a .*\(x \* 255\)\.round\(\)\.astype\('uint8'\)"),
        (np.zeros((2, 2, 3), np.int64), r"int64 is not a picture.*x\.astype\('uint8'\)"),
        (np.zeros((3, 224, 224), np.uint8), r"shape \(3, 224, 224\).*transpose\(1, 2, 0\)"),
        (np.zeros((2, 224, 224, 3), np.uint8), r"shape \(2, 224, 224, 3\) is not a picture"),
        (np.zeros((224,), np.uint8), r"shape \(224,\) is not a picture"),
        (np.zeros((9, 9, 2), np.uint8), r"shape \(9, 9, 2\) is not a picture"),
        (np.zeros((0, 5, 3), np.uint8), "The array has no pixels: it is 5 wide and 0 high"),
    ],
)  # fmt: skip
def test_an_array_that_is_no_picture_is_refused_with_advice(array, message):
    with pytest.raises(ImageError, match=message):
        from_array(array)


def test_an_unknown_channel_order_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"channel_order is 'grb'; expected one of 'bgr', 'rgb'"):
        from_array(np.zeros((2, 2, 3), np.uint8), "grb")


@pytest.mark.parametrize("format", ["ICO", "ICNS"])
def test_icons_are_refused_before_what_is_in_them_is_decoded(format, tmp_path, monkeypatch):
    """Pillow decodes them while it opens them, whatever their size."""
    file = tmp_path / "icon.png"
    Image.new("RGB", (64, 64)).save(file, format)
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(ImageError, match=r"icon\.png is an icon, which may hold several pictures"):
        decode(file)


def test_only_images_are_proposed_for_one_that_is_not_there(tmp_path):
    (tmp_path / "e.py").touch()
    (tmp_path / "e.jpg").touch()
    with pytest.raises(ImageNotFoundError, match=r"Did you mean 'e\.jpg'\?$"):
        decode(tmp_path / "e.pg")
