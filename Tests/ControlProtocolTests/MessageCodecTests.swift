import ControlProtocol
import ControlTestSupport
import ExpertPlacement
import Foundation
import Testing

struct MessageCodecTests {
    @Test func requestsSurviveTheRoundTrip() throws {
        for (index, request) in try Samples.requests.enumerated() {
            let payload = try payload(request, id: index)
            let incoming = MessageCodec.request(payload)
            #expect(incoming.requestID == index)
            let decoded = try incoming.request.get().message
            #expect(AnyHashable(decoded) == AnyHashable(request))
        }
    }

    @Test func allTypesOfRequestsAreListed() throws {
        #expect(AnyRequest.types.sorted() == Set(try Samples.requests.map { type(of: $0).type }).sorted())
    }

    @Test func answersSurviveTheRoundTrip() throws {
        func check<Message: ControlMessage>(_ message: Message) throws {
            guard !(message is ErrorReply) else { return }
            #expect(try MessageCodec.reply(payload(message, id: 1), as: Message.self) == message)
        }
        for answer in try Samples.answers { try check(answer) }
    }

    @Test func errorsAreThrown() throws {
        let error = ControlError(.unknownRun, "no run \"x\"\nis known")
        let payload = try payload(ErrorReply(error), id: 3)
        #expect(throws: error) { try MessageCodec.reply(payload, as: Runs.self) }
    }

    @Test func anotherAnswerIsAViolation() throws {
        let payload = try payload(Acknowledged(), id: 3)
        let error = #expect(throws: ControlError.self) { try MessageCodec.reply(payload, as: Runs.self) }
        #expect(error?.code == .protocolViolation)
    }

    /// Golden files hold what is on the wire. A difference is a change of the protocol: of its version, or a mistake.
    @Test func messagesOnTheWireAreThoseOfTheGoldenFile() throws {
        let messages: [any ControlMessage] = try Samples.requests + Samples.answers
        let lines = try messages.enumerated().map { String(decoding: try payload($1, id: $0), as: UTF8.self) }
        let actual = lines.joined(separator: "\n") + "\n"
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "Golden/messages.jsonl")
        #expect(try Repository.golden(file, actual: actual) == actual)
    }

    @Test func aMissingLossIsLeftOut() throws {
        let report = Samples.report(sample: Samples.sample(loss: .nan))
        #expect(report.sample.loss == nil)
    }

    @Test func aNumberWithoutAFormInJSONIsRefused() throws {
        var report = Samples.report()
        report.sample.stepSeconds = .infinity
        let error = #expect(throws: ControlError.self) { try MessageCodec.frame(report, requestID: 1) }
        #expect(error?.code == .badRequest)
    }

    private func payload(_ message: some ControlMessage, id: Int) throws -> Data {
        try MessageCodec.frame(message, requestID: id).dropFirst(Frame.headerBytes)
    }
}
