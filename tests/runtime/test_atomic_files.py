"""Output takes its place whole or not at all, whatever its place is."""

import concurrent.futures
import os
import platform
import socket
import stat
import threading

import pytest

from lpd_jax.runtime import atomic_files
from lpd_jax.runtime.atomic_files import (
    check_output_file,
    check_output_folder,
    path_within,
    remove_leftovers,
    replacing_directory,
    replacing_file,
)


@pytest.mark.parametrize("name", ["a.png", "画" * 82 + ".png", "x" * 255])
def test_a_file_of_any_legal_name_is_replaced(tmp_path, name):
    path = check_output_file("output", tmp_path / name)
    for text in ("one", "two"):
        with replacing_file(path) as temporary:
            assert len(os.fsencode(temporary.name)) <= 255 and temporary.parent == tmp_path
            temporary.write_text(text)
    assert [file.name for file in tmp_path.iterdir()] == [name] and path.read_text() == "two"


def test_what_is_replaced_keeps_its_permissions_and_what_is_new_has_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        for mode in (0o660, 0o600, 0o644):
            (tmp_path / "a").touch()
            (tmp_path / "a").chmod(mode)
            write(tmp_path / "a")
            assert (tmp_path / "a").stat().st_mode & 0o7777 == mode
        write(tmp_path / "b")
        assert (tmp_path / "b").stat().st_mode & 0o7777 == 0o640
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder").chmod(0o2770)  # what is made in it belongs to its group
        with replacing_directory(tmp_path / "folder") as temporary:
            write(temporary / "c")
        assert (tmp_path / "folder").stat().st_mode & 0o7777 == 0o2770
        assert (tmp_path / "folder" / "c").exists()
    finally:
        os.umask(before)


def write(path):
    with replacing_file(path) as temporary:
        temporary.write_text("written")


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "pipe.png")
    for name in ("pipe.png", "link.png"):
        path = check_output_file("output", tmp_path / name, (".png",))
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            read = pool.submit((tmp_path / "pipe.png").read_text)
            write(path)
            assert read.result() == "written"
    assert (tmp_path / "pipe.png").is_fifo()
    assert {file.name for file in tmp_path.iterdir()} == {"pipe.png", "link.png"}


def test_an_error_leaves_nothing_in_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(KeyError), replacing_file(tmp_path / "pipe") as temporary:
        temporary.write_text("half")
        raise KeyError
    assert [file.name for file in tmp_path.iterdir()] == ["pipe"]


def test_a_device_is_no_file_to_be_replaced(tmp_path):
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")
    (tmp_path / "a.png").symlink_to(device)
    write(check_output_file("output", tmp_path / "a.png"))
    assert device.is_char_device()


def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("a.png")
        with pytest.raises(ValueError, match="^output: got 'a.png', a device or socket; allowed"):
            check_output_file("output", "a.png")


def test_an_error_leaves_what_was_there(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(KeyError), replacing_file(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise KeyError
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_a_name_that_no_file_can_have_is_refused_before_the_work(tmp_path):
    with pytest.raises(ValueError, match="^output: got .*, allowed .* at most 255 bytes"):
        check_output_file("output", tmp_path / ("画" * 86))


def test_a_link_into_a_folder_that_is_not_there_is_refused_before_the_work(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "gone" / "b")
    words = "^output: got .*, but the folder .*gone does not exist; `mkdir -p .*gone` makes it$"
    with pytest.raises(ValueError, match=words):
        check_output_file("output", tmp_path / "a")
    with pytest.raises(ValueError, match="^output: got .*, but .*a is a link to nothing"):
        check_output_folder("output", tmp_path / "a")
    (tmp_path / "gone").mkdir()
    check_output_file("output", tmp_path / "a")


def test_links_are_followed(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "a").write_text("old")
    (tmp_path / "a").symlink_to(tmp_path / "disk" / "a")
    (tmp_path / "models").symlink_to(tmp_path / "disk" / "models")
    with replacing_file(tmp_path / "a") as temporary:
        temporary.write_text("new")
    for text in ("one", "two"):
        with replacing_directory(tmp_path / "models") as temporary:
            (temporary / "config.json").write_text(text)
    assert (tmp_path / "a").is_symlink() and (tmp_path / "disk" / "a").read_text() == "new"
    assert (tmp_path / "models").is_symlink()
    assert (tmp_path / "disk" / "models" / "config.json").read_text() == "two"


def test_the_files_of_a_mount_point_are_replaced_in_it(tmp_path, monkeypatch):
    mount = tmp_path / "models"
    mount.mkdir()
    place = mount.stat().st_ino
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == str(mount))
    for names in (("a", "b"), ("b", "c")):
        with replacing_directory(mount) as temporary:
            for name in names:
                (temporary / name).write_text(f"{names}")
    assert sorted(file.name for file in mount.iterdir()) == ["b", "c"]
    assert {file.read_text() for file in mount.iterdir()} == {"('b', 'c')"}
    assert mount.stat().st_ino == place
    with pytest.raises(KeyError), replacing_directory(mount) as temporary:
        (temporary / "b").write_text("half")
        raise KeyError
    assert sorted(file.name for file in mount.iterdir()) == ["b", "c"]


@pytest.mark.parametrize("is_mount", [False, True])
def test_folders_that_a_killed_process_of_this_number_left_are_in_nobodys_way(
    tmp_path, monkeypatch, is_mount
):
    model = tmp_path / "model"
    model.mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: is_mount and str(path) == str(model))
    beside = model if is_mount else tmp_path
    for purpose in ("writing", "previous"):
        leftover = atomic_files._beside(beside / "model", purpose)
        leftover.mkdir()
        (leftover / "half").write_text("half")
    with replacing_directory(model) as temporary:
        (temporary / "config.json").write_text("new")
    assert [file.name for file in model.iterdir()] == ["config.json"]
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_machines_with_the_same_process_numbers_write_under_other_names(tmp_path, monkeypatch):
    names = set()
    for machine in ("worker-0", "worker-1"):
        monkeypatch.setattr(platform, "node", lambda machine=machine: machine)
        with replacing_file(tmp_path / "x") as temporary:
            temporary.write_text(machine)
            names.add(temporary.name)
    assert len(names) == 2 and (tmp_path / "x").read_text() == "worker-1"


@pytest.mark.parametrize("name", ["tokens", "x" * 250])
def test_leftovers_of_killed_processes_are_found(tmp_path, name):
    context = replacing_file(tmp_path / name)
    context.__enter__().write_text("half")
    (tmp_path / "other").write_text("kept")
    remove_leftovers(tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == ["other"]
    del context


def test_threads_that_write_one_file_are_not_in_each_others_way(tmp_path):
    both_write = threading.Barrier(2)

    def write(text):
        with replacing_file(tmp_path / "a") as temporary:
            temporary.write_text(text)
            both_write.wait(10)

    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        list(threads.map(write, ("one", "two")))
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() in ("one", "two")


def test_where_below_a_folder_a_path_lies(tmp_path):
    (tmp_path / "real" / "class").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    assert path_within(tmp_path / "link" / "class" / "new", tmp_path / "real") == "class/new"
    assert path_within(tmp_path / "real", tmp_path / "link") == "."
    assert path_within(tmp_path / "real2", tmp_path / "real") is None
    assert path_within(tmp_path, tmp_path / "real") is None
