import ControlProtocol
import ControlTestSupport
import Foundation
import Testing

struct ControlKeyTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test func generatedKeysAreForTheirOwnerAlone() throws {
        for name in ["a", "b"] { try ControlKey.generate(file: folder.path(name)) }
        let status = try FileManager.default.attributesOfItem(atPath: folder.path("a"))
        #expect(status[.posixPermissions] as? Int == 0o600)
        #expect(status[.size] as? Int == 32)
        #expect(try ControlKey(file: folder.path("a")) == ControlKey(file: folder.path("a")))
        #expect(try ControlKey(file: folder.path("a")) != ControlKey(file: folder.path("b")))
    }

    @Test func noKeyIsOverwritten() throws {
        try ControlKey.generate(file: folder.path("a"))
        let before = try Data(contentsOf: URL(fileURLWithPath: folder.path("a")))
        let error = #expect(throws: ControlError.self) { try ControlKey.generate(file: folder.path("a")) }
        #expect(error?.code == .unusableKeyFile)
        #expect(error?.message.contains("is there already") == true)
        #expect(try Data(contentsOf: URL(fileURLWithPath: folder.path("a"))) == before)
    }

    @Test(arguments: [0o644, 0o640, 0o660, 0o604, 0o601, 0o777, 0o606])
    func filesThatOthersMayUseAreRefused(mode: Int) throws {
        let path = folder.path("key")
        try ControlKey.generate(file: path)
        chmod(path, mode_t(mode))
        let error = #expect(throws: ControlError.self) { try ControlKey(file: path) }
        #expect(error?.code == .unusableKeyFile)
        #expect(error?.message.contains("chmod 600") == true)
        for mode in [0o600, 0o400] {
            chmod(path, mode_t(mode))
            #expect(throws: Never.self) { try ControlKey(file: path) }
        }
    }

    @Test(arguments: [0, 1, 31, 33, 64, 1 << 20])
    func filesOfAnotherSizeAreRefused(size: Int) throws {
        let path = folder.path("key")
        try Data(count: size).write(to: URL(fileURLWithPath: path))
        chmod(path, 0o600)
        let error = #expect(throws: ControlError.self) { try ControlKey(file: path) }
        #expect(error?.message.contains("but a key has 32") == true, "\(error?.message ?? "")")
    }

    @Test func whatIsNoFileIsRefused() throws {
        mkfifo(folder.path("pipe"), 0o600)
        for name in ["missing", "pipe", ""] {
            let error = #expect(throws: ControlError.self) { try ControlKey(file: folder.path(name)) }
            #expect(error?.code == .unusableKeyFile)
        }
    }

    /// Neither what is printed nor what a debugger would dump has a byte of it.
    @Test func noTextShowsAKey() throws {
        let path = folder.path("key")
        try Data("MOEMOEMOEMOEMOEMOEMOEMOEMOEMOEMO".utf8).write(to: URL(fileURLWithPath: path))
        chmod(path, 0o600)
        let key = try ControlKey(file: path)
        var dumped = ""
        dump(key, to: &dumped)
        dump(try AcceptedKeys(files: [path]), to: &dumped)
        // As text, in hexadecimal, as a list and as the lines of a dump. A lone 77 may be part of an address.
        for shown in ["MOE", "4d4f45", "4D4F45", "77, 79", "- 77\n"] {
            for text in ["\(key)", String(reflecting: key), dumped] { #expect(!text.contains(shown), "\(text)") }
        }
    }

    @Test func acceptedKeysAreFewAndDifferent() throws {
        let keys = try KeyFolder()
        let error = #expect(throws: ControlError.self) { try keys.accepted(["a", "b", "c"]) }
        #expect(error?.code == .limitExceeded)
        #expect(throws: ControlError.self) { try keys.accepted(["a"], operators: ["b", "c", "d"]) }
        for (workers, operators) in [(["a", "a"], []), (["a"], ["a"]), (["a", "b"], ["c", "b"])] {
            let error = #expect(throws: ControlError.self) { try keys.accepted(workers, operators: operators) }
            #expect(error?.message.contains("same key") == true)
        }
        #expect(try !keys.accepted(["a", "b"], operators: ["c", "d"]).isEmpty)
    }
}
