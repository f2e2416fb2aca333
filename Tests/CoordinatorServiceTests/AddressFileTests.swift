import ControlProtocol
import CoordinatorService
import Foundation
import Testing

@Suite struct AddressFileTests {
    private let folder: URL

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "address-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    /// Workers may look for the address by a link, which goes on leading to it.
    @Test func linksStay() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let (file, link) = (folder.path + "/address", folder.path + "/link")
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "address")
        for port: UInt16 in [1, 2] {
            try AddressFile.write(Endpoint(host: "127.0.0.1", port: port), to: link)
            #expect(try String(contentsOfFile: file, encoding: .utf8) == "127.0.0.1:\(port)\n")
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == ["address", "link"])
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == "address")
    }

    @Test func theCauseIsNamed() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        // It has no reader, and is not waited for.
        let pipe = folder.path + "/pipe"
        #expect(mkfifo(pipe, 0o600) == 0)
        for (path, cause) in [
            (folder.path, "it is no regular file"), (pipe, "it is no regular file"),
            (folder.path + "/none/address", "No such file or directory"),
        ] {
            let error = #expect(throws: ControlError.self) {
                try AddressFile.write(Endpoint(host: "127.0.0.1", port: 1), to: path)
            }
            #expect(error?.message.contains("\(path) (--address-file): \(cause)") == true, "\(error.debugDescription)")
        }
    }
}
