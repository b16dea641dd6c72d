// JSch, with the two programs that everybody copies from its examples (ScpTo, ScpFrom) told anew:
// the library itself brings a channel and no scp.

import com.jcraft.jsch.ChannelExec;
import com.jcraft.jsch.JSch;
import com.jcraft.jsch.Session;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;

public class Jsch {
    public static void main(String[] words) throws Exception {
        if (words[0].equals("version")) {
            URI jar = JSch.class.getProtectionDomain().getCodeSource().getLocation().toURI();
            System.out.println(new File(jar).getCanonicalFile().getName().replaceAll(".*-|\\.jar$", ""));
            return;
        }
        boolean keep = words[1].equals("-p");
        int first = keep ? 2 : 1;
        String target = words[words.length - 1];
        JSch jsch = new JSch();
        jsch.addIdentity(System.getenv("SCP_RSA_KEY"));
        jsch.setKnownHosts(System.getenv("SCP_KNOWN_HOSTS"));
        Session session = jsch.getSession(
            System.getenv("SCP_USER"), System.getenv("SCP_HOST"), Integer.parseInt(System.getenv("SCP_PORT")));
        session.setConfig("server_host_key", "ssh-rsa");
        session.connect();
        try {
            for (int i = first; i < words.length - 1; i++) {
                String base = Paths.get(words[i]).getFileName().toString();
                String place = words.length - 1 - first > 1 ? target + "/" + base : target;
                if (words[0].equals("put")) {
                    put(session, Paths.get(words[i]), place, keep);
                } else {
                    get(session, words[i], Paths.get(place));
                }
            }
        } finally {
            session.disconnect();
        }
    }

    static void put(Session session, Path file, String place, boolean keep) throws Exception {
        ChannelExec channel = (ChannelExec) session.openChannel("exec");
        channel.setCommand("scp " + (keep ? "-p " : "") + "-t " + quoted(place));
        OutputStream out = channel.getOutputStream();
        InputStream in = channel.getInputStream();
        channel.connect();
        expectOk(in);
        if (keep) {
            long time = Files.getLastModifiedTime(file).toMillis() / 1000;
            // The blank after T is theirs.
            say(out, "T " + time + " 0 " + time + " 0\n");
            expectOk(in);
        }
        say(out, "C0644 " + Files.size(file) + " " + file.getFileName() + "\n");
        expectOk(in);
        Files.copy(file, out);
        say(out, "\0");
        expectOk(in);
        out.close();
        channel.disconnect();
    }

    static void get(Session session, String path, Path place) throws Exception {
        ChannelExec channel = (ChannelExec) session.openChannel("exec");
        channel.setCommand("scp -f " + quoted(path));
        OutputStream out = channel.getOutputStream();
        InputStream in = channel.getInputStream();
        channel.connect();
        say(out, "\0");
        if (in.read() != 'C') {
            throw new IOException("no file: " + line(in));
        }
        byte[] mode = new byte[5];
        // One read for "0644 ": the header has to be there whole.
        if (in.read(mode, 0, 5) != 5) {
            throw new IOException("a header in pieces");
        }
        String[] rest = line(in).split(" ", 2);
        say(out, "\0");
        long left = Long.parseLong(rest[0]);
        byte[] buffer = new byte[1024];
        try (OutputStream file = Files.newOutputStream(place)) {
            while (left > 0) {
                int some = in.read(buffer, 0, (int) Math.min(buffer.length, left));
                if (some < 0) {
                    throw new IOException("cut short");
                }
                file.write(buffer, 0, some);
                left -= some;
            }
        }
        expectOk(in);
        say(out, "\0");
        channel.disconnect();
    }

    static void say(OutputStream out, String text) throws IOException {
        out.write(text.getBytes("UTF-8"));
        out.flush();
    }

    static void expectOk(InputStream in) throws IOException {
        int reply = in.read();
        if (reply != 0) {
            throw new IOException("refused: " + line(in));
        }
    }

    static String line(InputStream in) throws IOException {
        ByteArrayOutputStream text = new ByteArrayOutputStream();
        for (int c = in.read(); c >= 0 && c != '\n'; c = in.read()) {
            text.write(c);
        }
        return text.toString("UTF-8");
    }

    static String quoted(String path) {
        return "'" + path.replace("'", "'\"'\"'") + "'";
    }
}
