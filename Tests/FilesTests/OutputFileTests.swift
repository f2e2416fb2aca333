import Files
import Foundation
import TestSupport
import Testing

/// What is at the path decides how it is written.
@Suite struct OutputFileTests {
    private let folder: URL

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "files-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    private func path(_ name: String) -> String { folder.path + "/" + name }

    private func names() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    }

    private func text(_ name: String) throws -> String { try String(contentsOfFile: path(name), encoding: .utf8) }

    private func link(_ name: String, to target: String) throws {
        try FileManager.default.createSymbolicLink(atPath: path(name), withDestinationPath: target)
    }

    private func mode(_ name: String) -> mode_t {
        var status = stat()
        return lstat(path(name), &status) == 0 ? status.st_mode : 0
    }

    /// A file is whole or not there; others of similar names stay.
    @Test func filesAppearWhole() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        try Data("mine".utf8).write(to: folder.appending(path: "a.partial"))
        for contents in ["first\n", "second, and longer\n", ""] {
            let before = try? text("a")
            let file = try OutputFile(path("a"))
            try file.write(Data(contents.utf8))
            #expect((try? text("a")) == before)
            try file.finish()
            #expect(try text("a") == contents)
            chmod(path("a"), 0o640)
        }
        #expect(mode("a") & 0o777 == 0o640)
        do {
            let file = try OutputFile(path("a"))
            try file.write(Data("given up".utf8))
        }
        #expect(try text("a").isEmpty && text("a.partial") == "mine")
        #expect(try names() == ["a", "a.partial"])
    }

    /// What a killed process has left goes, whoever could read it; what another one is at stays.
    @Test func leftoversGo() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        try Data("left".utf8).write(to: folder.appending(path: ".a.partial"))
        chmod(path(".a.partial"), 0)
        try OutputFile.write("new", to: path("a"))
        #expect(try text("a") == "new" && names() == ["a"])
        #expect(mode("a") & 0o444 != 0)

        let first = try OutputFile(path("a"))
        try first.write(Data("first".utf8))
        let error = #expect(throws: FileError.self) { try OutputFile.write("second", to: path("a")) }
        #expect(error?.description == "\(path("a")): another process is writing it")
        try first.finish()
        #expect(try text("a") == "first" && names() == ["a"])
    }

    /// What a link leads to is written, also where there is nothing yet.
    @Test func linksAreFollowed() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        try FileManager.default.createDirectory(at: folder.appending(path: "other"), withIntermediateDirectories: false)
        try Data("before".utf8).write(to: folder.appending(path: "other/target"))
        try link("relative", to: "other/target")
        try link("absolute", to: path("relative"))
        try link("dangling", to: "other/new")
        for name in ["relative", "absolute", "dangling"] {
            try OutputFile.write(name, to: path(name))
            #expect(mode(name) & S_IFMT == S_IFLNK)
            #expect(try text(name) == name)
        }
        #expect(try text("other/target") == "absolute" && text("other/new") == "dangling")
        #expect(try names() == ["absolute", "dangling", "other", "relative"])
        #expect(try FileManager.default.contentsOfDirectory(atPath: path("other")).count == 2)
    }

    @Test func pipesGetTheBytes() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        #expect(mkfifo(path("pipe"), 0o600) == 0)
        let reader = open(path("pipe"), O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        defer { close(reader) }
        try OutputFile.write("through\n", to: path("pipe"))
        #expect(try FileHandle(fileDescriptor: reader).readToEnd() == Data("through\n".utf8))
        #expect(mode("pipe") & S_IFMT == S_IFIFO)
        #expect(try names() == ["pipe"])
    }

    @Test(.enabled(if: FullDevice.isPossible, "devices can be made by root only"))
    func devicesStay() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        FullDevice.make(path("full"))
        try link("link", to: "full")
        for name in ["full", "link"] {
            let error = #expect(throws: FileError.self) { try OutputFile.write("much", to: path(name)) }
            #expect(error == FileError(path(name), ENOSPC))
        }
        #expect(FullDevice.isThere(path("full")))
        #expect(try names() == ["full", "link"])
    }

    /// The cause is named, and nothing is left behind.
    @Test func whatCannotBeWritten() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        try Data().write(to: folder.appending(path: "file"))
        try link("loop", to: "loop")
        for (path, code) in [
            (folder.path, EISDIR), (path("none/x"), ENOENT), (path("file/x"), ENOTDIR), (path("x/"), EISDIR),
            (path("loop"), ELOOP), (path(String(repeating: "x", count: 256)), ENAMETOOLONG),
        ] {
            let error = #expect(throws: FileError.self) { try OutputFile.write("", to: path) }
            #expect(error == FileError(path, code))
            #expect(error?.description == "\(path): \(String(cString: strerror(code)))")
        }
        let error = #expect(throws: FileError.self) { try OutputFile.write("", to: "") }
        #expect(error?.description == "\"\": No such file or directory")
        #expect(try names() == ["file", "loop"])
    }
}
