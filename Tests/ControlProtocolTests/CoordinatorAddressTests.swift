import ControlProtocol
import ControlTestSupport
import Foundation
import Testing

struct CoordinatorAddressTests {
    @Test(arguments: ["a:1", "a:1,b:2", "[::1]:7700,127.0.0.1:7700", "file:/run/address", "file:a,b"])
    func addressesAreRead(text: String) throws {
        #expect(try CoordinatorAddress(text).description == text)
    }

    @Test(arguments: ["", "a", "a:1,", ",a:1", "a:1 b:2", "file:", "a:1,file:x"])
    func othersAreRefused(text: String) {
        let error = #expect(throws: ControlError.self) { try CoordinatorAddress(text) }
        #expect(error?.code == .badRequest)
    }

    @Test func theFileIsReadEachTime() throws {
        let folder = try TemporaryFolder()
        let address = try CoordinatorAddress("file:\(folder.path("address"))")
        for (text, endpoint) in [(nil, nil), ("a:1\n", "a:1"), ("", nil), ("nonsense", nil), (" [::1]:2 ", "[::1]:2")] {
            if let text { try text.write(toFile: folder.path("address"), atomically: true, encoding: .utf8) }
            if let endpoint {
                #expect(try address.endpoints().map(\.description) == [endpoint])
            } else {
                // It may have an address later.
                let error = #expect(throws: ControlError.self) { try address.endpoints() }
                #expect(error?.isTransient == true)
            }
        }
    }

    @Test func addressesAreTriedInTurn() async throws {
        for isFirst in [true, false] {
            let server = try ScriptedServer { _ in }
            let there = "127.0.0.1:\(server.port)"
            // The discard port, at which nothing listens.
            let text = isFirst ? "\(there),127.0.0.1:9" : "127.0.0.1:9,\(there)"
            let client = try await ControlClient.connect(to: CoordinatorAddress(text))
            #expect(client.endpoint.description == there)
            client.close()
        }
        let error = await #expect(throws: ControlError.self) {
            try await ControlClient.connect(to: CoordinatorAddress("127.0.0.1:9,127.0.0.1:10"))
        }
        #expect(error?.isUnreachable == true)
        for endpoint in ["127.0.0.1:9", "127.0.0.1:10"] { #expect(error?.message.contains(endpoint) == true) }
    }
}
