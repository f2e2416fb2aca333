import ControlProtocol
import ControlTestSupport
import FuzzTargets
import Testing

struct AnswerTests {
    /// What requests are answered with, and what the tests of the protocol know, is what the fuzzer reads.
    @Test func allKindsOfAnswersAreFuzzed() throws {
        func answer<Request: ControlRequest>(to _: Request) -> String { Request.Reply.type }
        let ofRequests = try Samples.requests.map { answer(to: $0) }
        let ofSamples = try Samples.answers.map { Swift.type(of: $0).type }
        let fuzzed = FuzzTarget.answers.map { $0.type }
        #expect(Set(fuzzed) == Set(ofRequests + ofSamples))
        #expect(Set(fuzzed).count == fuzzed.count)
    }
}
