import ControlProtocol
import Foundation
import Testing

struct EndpointTests {
    @Test(
        arguments: [
            ("127.0.0.1:7700", "127.0.0.1", 7700), ("localhost:1", "localhost", 1), ("[::1]:65535", "::1", 65535),
            ("[fe80::1%eth0]:0", "fe80::1%eth0", 0),
        ] as [(String, String, UInt16)])
    func textIsRead(text: String, host: String, port: UInt16) throws {
        let endpoint = try Endpoint(text)
        #expect(endpoint == Endpoint(host: host, port: port))
        #expect(endpoint.description == text)
    }

    @Test(arguments: [
        "", ":", "host", "host:", ":1", "host:65536", "host:-1", "host:+1", "::1:5", "[::1]", "[]:1", "a:b:1",
    ])
    func otherTextIsRefused(text: String) {
        let error = #expect(throws: ControlError.self) { try Endpoint(text) }
        #expect(error?.message.contains("HOST:PORT") == true)
    }
}

struct TimestampTests {
    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (1_790_000_000_007, "2026-09-21T14:13:20.007Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"), (-1, "1969-12-31T23:59:59.999Z"),
        ] as [(Int64, String)])
    func timesAreRFC3339(milliseconds: Int64, text: String) {
        #expect(Timestamp(milliseconds: milliseconds).description == text)
        #expect(Timestamp(text) == Timestamp(milliseconds: milliseconds))
    }

    @Test(arguments: ["", "2026-11-24", "2026-11-24T17:47:33Z", "2026-13-24T17:47:33.000Z", "2026-11-24T17:47:33.00xZ"])
    func otherTextIsNoTime(text: String) {
        #expect(Timestamp(text) == nil)
    }
}
