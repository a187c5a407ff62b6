// Records audit events over HTTP. Needs Java 17, and no libraries.

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

public final class RecordEvents {
    private static final int ATTEMPTS = 7;
    private static final Set<Integer> RETRIED = Set.of(429, 500, 502, 503, 504);
    private static final HttpClient HTTP = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).build();

    /** Sends events, each with an id of its own, as the JSON of a request, and returns the answer's, with the result of each. */
    static String record(String body, String api, String token)
            throws IOException, ExecutionException, InterruptedException {
        var request = HttpRequest.newBuilder(URI.create(api + "/v1/events"))
                .header("Authorization", "Bearer " + token)
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(body))
                .build();
        for (int attempt = 0; ; attempt++) {
            String failure;
            long retryAfter = 0;
            var exchange = HTTP.sendAsync(request, HttpResponse.BodyHandlers.ofString());
            try {
                var answer = exchange.get(35, TimeUnit.SECONDS); // the API answers within 30
                failure = answer.statusCode() + ": " + answer.body();
                if (!RETRIED.contains(answer.statusCode())) {
                    if (!answer.body().contains("\"results\"")) {
                        throw new IllegalStateException(
                                "the request is refused, " + failure + "; an earlier attempt may have stored events");
                    }
                    return answer.body();
                }
                var header = answer.headers().firstValue("Retry-After").orElse("");
                retryAfter = header.matches("\\d{1,9}") ? Long.parseLong(header) : 0;
            } catch (TimeoutException lost) {
                failure = "no answer in time";
            } catch (ExecutionException lost) {
                if (!(lost.getCause() instanceof IOException)) throw lost;
                failure = lost.getCause().toString();
            } finally {
                exchange.cancel(true);
            }
            if (attempt == ATTEMPTS - 1) {
                throw new IOException("keep the events with their ids, and send them later: " + failure);
            }
            long backoff = ThreadLocalRandom.current().nextLong(500, 1_000) << attempt;
            Thread.sleep(Math.max(1_000 * retryAfter, backoff));
        }
    }

    public static void main(String[] arguments) throws IOException, ExecutionException, InterruptedException {
        // Your JSON library writes this.
        var login = """
                {"events": [{"id": "%s", "logType": "Authentication", "action": "Login",
                  "user": {"id": "usr_01", "name": "Priya Raman", "email": "priya.raman@acme.example"},
                  "additionalInfo": {"ip": "192.0.2.7", "mfa": true}}]}""".formatted(UUID.randomUUID());
        // Correct an event that is refused: sending it again doesn't help.
        System.out.println(record(login, System.getenv("API"), System.getenv("EVENTS_TOKEN")));
    }
}
